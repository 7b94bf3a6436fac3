"""Rows of requests, and estimates of nights -> a study; nights drawn from it have its components."""

import math

import numpy as np
import polars as pl
import pytest

from storage.records import Cell, Estimate, NoisePart, Outlook, Spread
from tasks.stats.components import of_night, of_process, of_run, spread
from tasks.stats.noisy import advice, shares, warnings
from tasks.stats.outlook import draw, frame, outlook, source
from tasks.stats.repeats import Figure, Number, Study, figures, of_blocks, of_nights, of_quantile, parts
from tests.fakes.noise import quantile
from tests.fakes.samples import leg, rows

LEVELS = (1, 10)
METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
NUMBERS: list[Number] = [("gw", level, metric) for metric in METRICS for level in LEVELS]
NUMBERS += [("control", level, "latency_p50") for level in LEVELS]


def study(
    *, run: float = 0.01, process: float = 0.01, block: float = 0.02, runs: int = 40, seed: int = 1, lose: int = 0
) -> Study:
    """Runs of two processes of four blocks; what a run and a process have to themselves is shared by all numbers, and
    `lose` blocks lack one."""
    rng = np.random.default_rng(seed)
    found = []
    luck = rng.normal(0, run, runs)
    for number in range(2 * runs):
        own = luck[number // 2] + rng.normal(0, process)
        by = {k: [Figure(n, own + rng.normal(0, block), 0.0001) for n in NUMBERS] for k in range(4)}
        found.append((number // 2, number, by))
    for _, _, by in found[:lose]:
        by[0].pop()
    return of_blocks(found, 4)


def test_components_come_back_by_metric_and_level_and_of_the_mean_over_levels() -> None:
    found = parts(study(), "gw")
    assert [(p.metric, p.level) for p in found[:3]] == [("latency_p50", 1), ("latency_p50", 10), ("latency_p50", None)]
    assert len(found) == 15
    whole = found[2]
    assert whole.process is not None and whole.request is not None
    assert whole.host.sd == pytest.approx(0.01, abs=0.004)
    assert whole.process.sd == pytest.approx(0.01, abs=0.004)
    assert whole.request.sd == pytest.approx(0.01 / math.sqrt(2))  # 0.0001 a level, over two levels
    assert math.hypot(whole.block.sd, whole.request.sd) == pytest.approx(0.02 / math.sqrt(2), rel=0.15)
    assert whole.night.sd**2 == pytest.approx(0.0002 + 0.0002 / 4, rel=0.4)


def test_blocks_that_lack_a_number_are_left_out_and_counted() -> None:
    assert study(lose=3).dropped == 3
    assert study(lose=3).squares.df == (39, 40, 320 - 3 - 80)


def test_nothing_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="no block is whole"):
        of_blocks([(0, 0, {}), (1, 1, {})], 4)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_woodruffs_variance_is_that_of_quantiles_of_many_samples(q: float) -> None:
    logs = np.random.default_rng(5).normal(0, 0.3, (2000, 200))
    guessed = np.sqrt([of_quantile(np.exp(np.sort(row)), q) for row in logs])
    assert guessed.mean() == pytest.approx(float(quantile(logs, q).std()), rel=0.07)


def cells(rng: np.random.Generator, night: float) -> list[Cell]:
    """Five blocks, a block's sd .02: the interval of a night's estimate is that of their spread."""
    found = []
    for target, level, metric in NUMBERS:
        logs = night + rng.normal(0, 0.02, 5)
        half = 2.7764 * float(logs.std(ddof=1)) / math.sqrt(5)
        point = math.exp(float(logs.mean()))
        e = Estimate(point, point * math.exp(-half), point * math.exp(half), 1000, 5)
        found.append(Cell("first", target, "sweep", int(level or 0), metric, e))
    return found


def test_stored_nights_tell_what_a_night_and_what_a_block_has_to_itself() -> None:
    rng = np.random.default_rng(6)
    found = of_nights([cells(rng, rng.normal(0, 0.03)) for _ in range(60)], "gw")
    assert (found.groups, found.processes, found.blocks, found.dropped) == (60, 1, 5, 0)
    part = parts(found, "gw")[0]
    assert (part.process, part.request) == (None, None)
    assert part.host.sd == pytest.approx(0.03, rel=0.25)
    assert part.block.sd == pytest.approx(0.02, rel=0.1)
    with pytest.raises(ValueError, match="fewer than two nights"):
        of_nights([cells(rng, 0.0)], "gw")


def test_nights_that_are_drawn_have_the_components_and_share_what_was_shared() -> None:
    s = study()
    rng, found = np.random.default_rng(7), source(study())
    worlds = [draw(found, rng, 1) for _ in range(4000)]
    tonight = np.array([w.tonight for w in worlds])
    k = s.numbers.index(("gw", 1, "latency_p50"))
    assert tonight[:, 0].std() == pytest.approx(spread(s.squares, of_night(s.squares, 4), k).sd, rel=0.05)
    again = np.array([w.again[0] for w in worlds])
    kept = float(np.cov(tonight[:, 0], again)[0, 1])
    shared = sum(spread(s.squares, part, k).sd ** 2 for part in (of_run(s.squares), of_process(s.squares)) if part)
    assert kept == pytest.approx(shared, rel=0.1)
    assert np.corrcoef(tonight[:, 0], tonight[:, 2])[0, 1] > 0.4


def test_a_frame_has_natural_units_and_turns_throughput_back() -> None:
    made = frame([("gw", 1, "latency_p50"), ("gw", 1, "throughput")], np.log([[0.5, 0.02]]), first=7)
    assert made["value"].to_list() == pytest.approx([0.5, 50.0])
    assert made.select("night", "series").unique().rows() == [(7, "sweep")]
    assert made.schema["value"] == pl.Float64


def test_a_quiet_setup_has_few_false_alarms_and_a_noisier_one_sees_less() -> None:
    """The marks of the gate, with three Monte-Carlo errors of 60 nights."""
    few = {"nights": (10,), "quiet": 60, "changed": 20}
    [quiet] = outlook(study(), rng=np.random.default_rng(8), **few)  # type: ignore[arg-type]
    [noisy] = outlook(study(run=0.1), rng=np.random.default_rng(8), **few)  # type: ignore[arg-type]
    assert quiet.false_alarms <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 60)
    assert quiet.visible is not None and quiet.visible_tail is not None
    assert 0.03 <= quiet.visible <= quiet.visible_tail * 1.2
    assert noisy.visible is None or noisy.visible > 2 * quiet.visible


def test_the_same_seed_gives_the_same_outlook() -> None:
    few = {"nights": (5,), "quiet": 10, "changed": 5}
    first, second = (outlook(study(), rng=np.random.default_rng(9), **few) for _ in range(2))  # type: ignore[arg-type]
    assert first == second


# --- words


def part(host: float, process: float | None, block: float, request: float | None) -> NoisePart:
    def sd(value: float | None) -> Spread | None:
        return None if value is None else Spread(value, None, None)

    return NoisePart("latency_p95", None, Spread(host, None, None), sd(process), Spread(block, None, None), sd(request),
                     Spread(host, None, None))  # fmt: skip


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (part(0.03, 0.01, 0.01, 0.01), "a quieter machine"),
        (part(0.01, 0.03, 0.01, 0.01), "cores of their own"),
        (part(0.0, None, 0.03, 0.01), "more blocks help"),
        (part(0.0, 0.0, 0.01, 0.03), "more requests help"),
    ],
    ids=["host", "process", "block", "request"],
)
def test_the_advice_is_about_the_largest_source(one: NoisePart, said: str) -> None:
    assert said in advice([one], 5)


def test_shares_of_a_night_add_up_and_count_a_block_as_one_of_several() -> None:
    found = shares(part(0.02, None, 0.04, None), 4)
    assert found == {"host": pytest.approx(0.5), "block": pytest.approx(0.5)}
    assert advice([part(0.0, None, 0.0, None)], 4) == ""


def look(nights: int, alarms: float, visible: float | None) -> Outlook:
    return Outlook(nights, alarms, 0.005, visible, visible)


def test_a_setup_that_can_be_judged_has_no_warning() -> None:
    assert warnings([look(5, 0.03, 0.5), look(30, 0.01, 0.2)]) == []


def test_false_alarms_beyond_chance_and_effects_that_nobody_sees_are_warned_of() -> None:
    [many] = warnings([look(30, 0.06, 0.1)])
    assert many == "after 30 nights of history 6.0 % of quiet nights would be called regressed (2.5 % is the most)"
    late = warnings([look(10, 0.0, 0.1), look(30, 0.0, 0.21)])
    assert late == [
        "of a slowdown throughout only +21 % would be seen after 30 nights (+20 % should be)",
        "of a slower tail only +21 % would be seen after 30 nights (+20 % should be)",
    ]
    [never] = warnings([Outlook(30, 0.0, 0.005, 0.1, None)])
    assert never == "of a slower tail not even twice as slow would be seen after 30 nights (+20 % should be)"


# --- rows of requests


def test_rows_of_requests_become_the_judged_numbers_of_each_block() -> None:
    slow = [float(k) for k in range(1, 201)]
    samples = pl.concat(
        [
            rows("a", slow, level=2, block=1),
            rows("b", [10.0] * 20, level=2, block=2),
            rows("c", slow, level=2, block=1, target="control"),
            rows("d", slow, level=2, block=3),
        ]
    )
    legs = [leg("a"), leg("b", block=2), leg("c", target="control"), leg("d", block=3, validity="invalid")]
    found = figures(samples.lazy(), legs)
    assert sorted(found) == [1, 2]
    first = {f.number: f for f in found[1]}
    assert set(first) == {("gw", 2, m) for m in METRICS if m != "ttft_p95"} | {("control", 2, "latency_p50")}
    p50 = first["gw", 2, "latency_p50"]
    assert p50.y == pytest.approx(math.log(0.1005))
    assert p50.sampling == pytest.approx(0.07**2, rel=0.05)  # ± √(.25 · 200) = 7 of 100 values
    assert first["gw", 2, "throughput"].y == pytest.approx(-math.log(2 / 0.1005))
    assert first["gw", 2, "throughput"].sampling == pytest.approx((57.9 / 100.5) ** 2 / 200, rel=0.01)
    assert {f.number[2] for f in found[2]} == {"latency_p50", "latency_p95", "throughput"}  # 20 have no p99
    assert [f.sampling for f in found[2]] == pytest.approx([0.0, 0.0, 0.0])
    assert figures(samples.lazy(), []) == {}
