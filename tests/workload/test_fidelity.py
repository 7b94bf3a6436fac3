import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from storage.errors import NothingMeasured
from storage.records import Arrival
from tasks.workload.builtin import builtin
from tasks.workload.distances import joint_ks, ks, mix_distance
from tasks.workload.fidelity import Measure, compare, noise_floors, sent_against_due
from tasks.workload.likeness import in_words, to_json
from tasks.workload.synthesis import at_starts, synthesise
from tasks.workload.trace import SCHEMA, Header, Workload, from_arrivals, of_frame, window

SECOND = 10**9
TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"
numbers = st.lists(st.integers(0, 20), min_size=1, max_size=40)


def by_name(found):
    return {measure.name: measure for measure in found.measures}


@settings(deadline=None)
@given(numbers, numbers)
def test_ks_is_that_of_scipy(a, b):
    assert ks(np.array(a), np.array(b)) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)


pairs = st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 9)), min_size=1, max_size=30)


@settings(deadline=None)
@given(pairs, pairs)
def test_the_joint_distance_is_the_slow_obvious_one(a, b):
    def share(rows, x, y, right, up):
        return sum(((i > x) == right) and ((o > y) == up) for i, o in rows) / len(rows)

    corners = [(x, y) for x, _ in a + b for _, y in a + b]
    slow = max(
        abs(share(a, x, y, r, u) - share(b, x, y, r, u))
        for x, y in corners
        for r in (False, True)
        for u in (False, True)
    )
    assert joint_ks(np.array(a), np.array(b)) == pytest.approx(slow)


def test_equal_margins_with_another_pairing_are_told_apart():
    x = np.arange(1000)
    assert ks(x, x[::-1]) == 0
    assert joint_ks(np.column_stack((x, x)), np.column_stack((x, x[::-1]))) == pytest.approx(0.5, abs=0.01)


def test_the_mix_distance_is_the_share_that_would_have_to_move():
    a, b = pl.Series(["x"] * 3 + ["y"]), pl.Series(["x", "y", "y", "z"])
    assert mix_distance(a, b) == pytest.approx(0.5)
    assert mix_distance(a, a) == 0


def test_a_workload_is_like_itself():
    found = compare(builtin(), builtin())
    assert found.ok and found.counts == (240, 240)
    values = {name: measure.value for name, measure in by_name(found).items()}
    assert values["rate_ratio"] == values["dispersion_1s"] == values["dispersion_10s"] == 1.0
    assert values["arrival_ks"] == values["gap_ks"] == values["joint_ks"] == values["mix_distance"] == 0.0
    assert found.notes == ("too short to judge the dispersion at 10 s, 60 s, 300 s",)


def test_evenly_spaced_arrivals_are_no_copy_of_poisson_ones():
    source = builtin()
    step = source.header.span_ns // 239
    found = by_name(compare(source, at_starts(source, [k * step for k in range(240)], 1, "constant")))
    assert found["gap_ks"].ok is False
    assert found["dispersion_1s"].ok is False
    assert found["rate_ratio"].ok and found["joint_ks"].ok and found["mix_distance"].ok


def test_gaps_of_another_rate_are_shown_and_not_judged():
    twice = synthesise(builtin(), 1, rate_scale=2)
    found = compare(builtin(), twice)
    assert by_name(found)["rate_ratio"].ok is False
    assert by_name(found)["gap_ks"].ok is None
    assert "the rates differ, so gaps and dispersion are shown and not judged" in found.notes
    as_made = compare(builtin(), twice, rate_scale=2)
    assert by_name(as_made)["rate_ratio"].value == pytest.approx(1.0, abs=0.02)
    assert as_made.ok


def test_an_hour_is_not_held_against_a_day():
    long = from_arrivals(
        [Arrival(k * 60 * SECOND, "default", 100, 20, None, True) for k in range(1440)], Header(name="day")
    )
    hour = window(long, "12h:13h")
    found = by_name(compare(hour, long))
    assert (found["rate_ratio"].ok, found["arrival_ks"].ok) == (None, None)
    assert (found["joint_ks"].ok, found["mix_distance"].ok) == (True, True)


def test_a_distance_below_the_sources_own_is_neither_held_against_a_copy_nor_for_it():
    assert Measure("joint_ks", 0.02, None, 0.03, 0.05).ok is True
    assert Measure("joint_ks", 0.04, None, 0.03, 0.05).ok is None
    assert Measure("joint_ks", 0.04, None, 0.03, 0.05).unsure and not Measure("joint_ks", 0.02, None, 0.03, 0.05).unsure
    assert Measure("joint_ks", 0.06, None, 0.03, 0.05).ok is False
    assert Measure("joint_ks", 0.04, None, 0.03, None).ok is False
    assert Measure("dispersion_1s", 0.6, 0.7, 1.4, 1.8).ok is None
    assert Measure("dispersion_1s", 0.5, 0.7, 1.4, 1.8).ok is False
    assert Measure("dispersion_1s", 0.0, 0.7, 1.4, 1.8).ok is False


def test_a_source_of_one_kind_throughout_has_a_low_floor_and_a_mixed_one_a_high_one():
    steady = [Arrival(k * SECOND, "ab"[k % 2], k % 7, 1, None, True) for k in range(1200)]
    moody = [Arrival(k * SECOND, "ab"[k // 20 % 2], k // 20 % 7, 1, None, True) for k in range(1200)]
    low, high = (noise_floors(from_arrivals(rows, Header(name="w")).frame) for rows in (steady, moody))
    assert low["mix_distance"] == 0.0 and low["joint_ks"] < 0.03
    assert high["mix_distance"] > 0.1 and high["joint_ks"] > 0.05
    assert noise_floors(from_arrivals(steady[:79], Header(name="w")).frame) == {}


def test_two_draws_of_one_traffic_are_within_the_noise_of_each_other():
    """Poisson arrivals and lognormal sizes, drawn twice: nothing is outside in at least 36 of 40 pairs."""
    rng = np.random.default_rng(5)

    def draw():
        offsets = np.cumsum(rng.exponential(0.1, 1500) * SECOND).astype(int).tolist()
        sizes = [rng.lognormal(5, 1, 1500).astype(int).tolist() for _ in range(2)]
        return from_arrivals(
            [Arrival(t, "m", i, o, None, True) for t, i, o in zip(offsets, *sizes, strict=True)], Header(name="w")
        )

    assert sum(compare(draw(), draw()).ok for _ in range(40)) >= 36


def test_a_traffic_that_moved_is_outside():
    """Larger answers, another mix, bursts: each is seen in 20 of 20 pairs."""
    rng = np.random.default_rng(6)

    def draw(longer=1.0, share=0.5, burst=1):
        gaps = np.repeat(rng.exponential(0.1 * burst, 3000 // burst), burst)
        gaps[np.arange(len(gaps)) % burst != 0] = 0.001
        outs = (rng.lognormal(5, 1, len(gaps)) * longer).astype(int).tolist()
        models = np.where(rng.random(len(gaps)) < share, "a", "b").tolist()
        offsets = np.cumsum(gaps * SECOND).astype(int).tolist()
        rows = [Arrival(t, m, 100, o, None, True) for t, m, o in zip(offsets, models, outs, strict=True)]
        return from_arrivals(rows, Header(name="w"))

    for _ in range(20):
        pin = draw()
        assert by_name(compare(pin, draw(longer=1.5)))["joint_ks"].ok is False
        assert by_name(compare(pin, draw(share=0.7)))["mix_distance"].ok is False
        assert by_name(compare(pin, draw(burst=10)))["gap_ks"].ok in (False, None)
        assert by_name(compare(pin, draw(burst=10)))["dispersion_1s"].ok in (False, None)


def test_what_was_sent_when_it_was_due_is_a_true_replay():
    due = np.arange(0, 1000) * 10_000_000
    found = sent_against_due(due, due + 300_000, 1000)
    assert found.ok and found.kind == "replay"
    assert by_name(found)["lag_p99_ms"].value == pytest.approx(0.3)
    assert by_name(found)["arrival_ks"].value == pytest.approx(0.001)


def test_a_replay_that_falls_behind_or_loses_a_request_is_not():
    due = np.arange(0, 1000) * 10_000_000
    assert by_name(sent_against_due(due, due + 200_000_000, 1000))["arrival_ks"].ok is False
    assert by_name(sent_against_due(due[:-1], due[:-1], 1000))["count_ratio"].ok is False
    with pytest.raises(NothingMeasured, match="sent nothing"):
        sent_against_due(due[:0], due[:0], 10)


def test_a_volley_may_take_as_long_as_nobody_could_help():
    due = np.repeat(np.arange(20), 50) * SECOND
    sent = due + np.tile(np.arange(1, 51), 20) * 100_000
    found = by_name(sent_against_due(due, sent, 1000))["arrival_ks"]
    assert (found.value, found.floor, found.ok) == (pytest.approx(0.05), pytest.approx(0.05), None)


def test_a_report_is_json_without_nan():
    again = json.loads(json.dumps(to_json(compare(builtin(), synthesise(builtin(), 1))), allow_nan=False))
    assert (again["schema"], again["kind"], again["counts"]) == ("gatebench.fidelity/1", "copy", [240, 240])
    assert {row["name"] for row in again["measures"]} >= {"arrival_ks", "gap_ks", "joint_ks"}


def test_the_words_name_what_is_outside_and_where_the_limit_is():
    source = builtin()
    step = source.header.span_ns // 239
    found = compare(source, at_starts(source, [k * step for k in range(240)], 1, "constant", "even"))
    lines = in_words(found).split("\n")
    title = " ".join(lines[: next(k for k, line in enumerate(lines) if "noise floor" in line)])
    assert title.startswith("even (240 requests) against builtin (240): outside in ")
    assert "gaps, KS" in title
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("model mix, distance") and line.endswith("in") for line in lines)
    assert any(line.startswith("gaps, KS") and "≤ 0.1" in line and line.endswith("OUT") for line in lines)
    due = np.arange(100) * 10_000_000
    assert in_words(sent_against_due(due, due, 100)).startswith("replay: 100 sent of 100 due, as recorded")
    assert "not as recorded: sent, of those due 0.990 (= 1)" in in_words(sent_against_due(due[1:], due[1:], 100))


def test_nothing_is_compared_with_a_single_arrival():
    one = from_arrivals([Arrival(0, "m", 1, 1, None, True)], Header(name="one"))
    with pytest.raises(NothingMeasured, match="'one' has no two arrivals apart"):
        compare(builtin(), one)


def azure(kind: str) -> Workload:
    rows = pl.read_csv(TRACES / f"AzureLLMInferenceTrace_{kind}.csv")
    stamps = rows["TIMESTAMP"].str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ns").cast(pl.Int64)
    known = {
        "offset_ns": stamps - stamps.min(),
        "model": pl.repeat(f"azure-{kind}", len(rows), eager=True),
        "input_tokens": rows["ContextTokens"],
        "output_tokens": rows["GeneratedTokens"],
        "stream": pl.repeat(True, len(rows), eager=True),
    }
    columns = {name: known.get(name, pl.Series([None] * len(rows), dtype=kind)) for name, kind in SCHEMA.items()}
    return of_frame(pl.DataFrame(columns).cast(dict(SCHEMA)), Header(name=kind))


@pytest.mark.shared
@pytest.mark.skipif(not TRACES.is_dir(), reason="the Azure traces are not at hand")
@pytest.mark.parametrize("kind", ["conv", "code"])
def test_azure_traces_are_synthesised_within_the_limits_themselves_for_ten_seeds(kind):
    source = azure(kind)
    for seed in range(1, 11):
        made = synthesise(source, seed)
        found = compare(source, made)
        assert len(found.measures) == 11
        assert [m for m in found.measures if not m.inside] == []
        assert made.id != source.id
