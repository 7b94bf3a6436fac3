import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from storage.records import Verdict, Word
from tasks.stats.gate import GateRules, candidates, judge, overall

LEVELS = (1, 10, 50, 100)
METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
SCHEMA = {
    "night": pl.Int64, "target": pl.String, "series": pl.String, "level": pl.Int64, "metric": pl.String,
    "value": pl.Float64, "n": pl.Int64,
}  # fmt: skip


def night(
    k: int, rng: np.random.Generator | None, *, sd: float = 0.02, target: str = "gw", **scale: float
) -> pl.DataFrame:
    """One night of every cell: 100 ms and 50/s, times e^noise, times the metric's `scale`."""
    rows = []
    for metric in METRICS:
        for level in LEVELS:
            noise = 0.0 if rng is None else rng.normal(0, sd)
            base = 50.0 if metric == "throughput" else 0.1
            rows.append((k, target, "sweep", level, metric, base * math.exp(noise) * scale.get(metric, 1.0), 1000))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def control(k: int, scale: float = 1.0, noise: float = 0.0) -> pl.DataFrame:
    rows = [(k, "control", "sweep", level, "latency_p50", 0.04 * scale * math.exp(noise), 1000) for level in LEVELS]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def past(nights: int, seed: int = 1, **options: Any) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = [night(k, rng, **options) for k in range(nights)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)


def of(verdicts: list[Verdict], metric: str, level: int | None) -> Verdict:
    return next(v for v in verdicts if v.metric == metric and v.level == level)


def words(verdicts: list[Verdict]) -> set[str]:
    return {v.verdict for v in verdicts}


@pytest.mark.parametrize("nights", [0, 1, 2])
def test_below_three_nights_it_cannot_tell(nights: int) -> None:
    found = judge(past(nights), night(nights, None))
    assert words(found) == {"inconclusive"}
    assert all(v.reason.startswith(f"{nights} night{'' if nights == 1 else 's'} of history") for v in found)


def test_a_large_change_below_three_nights_is_a_warning_and_never_a_regression() -> None:
    found = of(judge(past(2, sd=0.0), night(2, None, latency_p95=1.31)), "latency_p95", 10)
    assert (found.verdict, found.effect) == ("inconclusive", pytest.approx(0.31))
    assert "warning: +31%" in found.reason


def test_a_large_gain_below_three_nights_is_no_warning() -> None:
    assert "warning" not in of(judge(past(2, sd=0.0), night(2, None, latency_p95=0.6)), "latency_p95", 10).reason


def test_a_quiet_night_is_unchanged() -> None:
    found = judge(past(30), night(30, np.random.default_rng(99)))
    assert words(found) == {"unchanged"}
    assert len(found) == len(METRICS) * (len(LEVELS) + 1)


def test_a_slower_night_is_a_candidate_until_it_was_measured_again() -> None:
    found = judge(past(30), night(30, None, latency_p95=1.2))
    assert (of(found, "latency_p95", 10).verdict, of(found, "latency_p95", 10).reason) == ("inconclusive", "candidate")
    assert of(found, "latency_p50", 10).verdict == "unchanged"
    assert overall(found) == Word.INCONCLUSIVE


def test_a_candidate_seen_again_is_regressed() -> None:
    slow = night(30, None, latency_p95=1.2)
    found = judge(past(30), slow, confirm=slow)
    assert of(found, "latency_p95", 10).verdict == "regressed"
    assert of(found, "latency_p95", None).verdict == "regressed"
    assert of(found, "latency_p95", 10).effect == pytest.approx(0.2, abs=0.03)


def test_a_candidate_not_seen_again_is_unchanged() -> None:
    found = judge(past(30), night(30, None, latency_p95=1.2), confirm=night(30, None))
    assert (of(found, "latency_p95", 10).verdict, of(found, "latency_p95", 10).reason) == ("unchanged", "not confirmed")
    assert overall(found) == Word.UNCHANGED


def test_a_faster_night_seen_again_is_improved() -> None:
    fast = night(30, None, latency_p95=0.8)
    found = judge(past(30), fast, confirm=fast)
    assert of(found, "latency_p95", 10).verdict == "improved"
    assert overall(found) == Word.IMPROVED


def test_throughput_is_turned_round_so_that_up_is_worse() -> None:
    slow = night(30, None, throughput=0.8)
    found = of(judge(past(30), slow, confirm=slow), "throughput", 10)
    assert (found.verdict, found.effect) == ("regressed", pytest.approx(0.25, abs=0.04))


def test_a_change_below_the_least_effect_is_unchanged_however_sure() -> None:
    small = night(30, None, latency_p95=1.02)
    found = of(judge(past(30, sd=0.0001), small, confirm=small), "latency_p95", 10)
    assert found.verdict == "unchanged"
    assert found.p is not None and found.p < 1e-4


def test_the_interval_holds_the_effect_and_the_detectable_effect_is_above_the_least() -> None:
    found = of(judge(past(30), night(30, None)), "latency_p95", 10)
    assert found.lower is not None and found.upper is not None and found.effect is not None
    assert found.lower < found.effect < found.upper
    assert found.detectable is not None and found.detectable >= GateRules().min_effect


def test_one_outlying_night_does_not_hide_a_change() -> None:
    history = pl.concat([past(29), night(29, None, latency_p95=3.0)])
    slow = night(30, None, latency_p95=1.2)
    assert of(judge(history, slow, confirm=slow), "latency_p95", 10).verdict == "regressed"


def test_a_history_without_any_spread_is_no_error() -> None:
    assert words(judge(past(25, sd=0.0), night(25, None))) == {"unchanged"}


def test_a_metric_that_is_missing_tonight_is_never_unchanged() -> None:
    found = judge(past(30), night(30, None).filter(pl.col("metric") != "latency_p99"))
    assert (of(found, "latency_p99", 10).verdict, of(found, "latency_p99", 10).reason) == (
        "inconclusive",
        "no data tonight",
    )
    assert overall(found) == Word.INCONCLUSIVE


def test_frames_without_rows_or_columns_judge_nothing() -> None:
    assert judge(pl.DataFrame(), pl.DataFrame()) == []
    assert overall([]) == Word.INCONCLUSIVE


def test_a_control_that_moved_makes_the_night_inconclusive() -> None:
    history = pl.concat([past(30), *(control(k) for k in range(30))])
    found = judge(history, pl.concat([night(30, None), control(30, 1.2)]), control="control")
    assert words(found) == {"inconclusive"}
    assert {v.reason for v in found} == {"control moved by +20.0%"}


def with_control(slow: float, machine: float, nights: int = 30) -> list[Verdict]:
    """A night whose p95 is `slow` times and whose machine, with the control, is `machine` times as slow; seen twice."""
    history = pl.concat([past(nights), *(control(k) for k in range(nights))])
    all_of_it = dict.fromkeys(("latency_p50", "latency_p99", "ttft_p95"), machine)
    measured = night(nights, None, **all_of_it, latency_p95=slow * machine, throughput=1 / machine)
    tonight = pl.concat([measured, control(nights, machine)])
    return judge(history, tonight, confirm=tonight, control="control")


@pytest.mark.parametrize("nights", [5, 30])
def test_a_slow_machine_accuses_nobody(nights: int) -> None:
    assert words(with_control(1.0, 1.3, nights)) == {"inconclusive"}


@pytest.mark.parametrize("nights", [5, 30])
def test_a_slow_machine_excuses_nobody(nights: int) -> None:
    found = with_control(1.3, 1.3, nights)
    assert of(found, "latency_p95", 10).verdict == "regressed"
    assert of(found, "latency_p95", 10).effect == pytest.approx(0.3, abs=0.03)
    assert of(found, "latency_p50", 10).reason == "control moved by +30.0%"


def test_a_second_look_without_a_control_is_still_a_look_at_the_slow_machine() -> None:
    history = pl.concat([past(30), *(control(k) for k in range(30))])
    slow = night(30, None, **dict.fromkeys(METRICS[:4], 1.3), throughput=1 / 1.3)
    found = judge(history, pl.concat([slow, control(30, 1.3)]), confirm=slow, control="control")
    assert words(found) == {"inconclusive"}


def test_a_fast_machine_improves_nothing() -> None:
    assert words(with_control(1.0, 0.7)) == {"inconclusive"}


def test_the_control_is_not_judged() -> None:
    history = pl.concat([past(30), *(control(k) for k in range(30))])
    found = judge(history, pl.concat([night(30, None), control(30)]), control="control")
    assert {v.target for v in found} == {"gw"}


def test_a_night_without_the_control_that_history_has_is_judged_without_it() -> None:
    history = pl.concat([past(30), *(control(k) for k in range(30))])
    found = judge(history, night(30, np.random.default_rng(99)), control="control")
    assert (words(found), {v.target for v in found}) == ({"unchanged"}, {"gw"})


def test_luck_shared_with_the_control_is_taken_off_from_fifteen_nights_on() -> None:
    rng = np.random.default_rng(5)
    luck = rng.normal(0, 0.03, 31)
    frames = []
    for k in range(30):
        factor = math.exp(luck[k])
        frames.append(
            night(k, rng, sd=0.005, latency_p95=factor, latency_p50=factor, latency_p99=factor, ttft_p95=factor)
        )
        frames.append(control(k, factor))
    history = pl.concat(frames)
    host = math.exp(0.045)
    tonight = pl.concat([night(30, None, latency_p95=host), control(30, host)])
    with_control = of(judge(history, tonight, control="control"), "latency_p95", 10)
    without = of(judge(history, tonight), "latency_p95", 10)
    assert with_control.effect is not None and without.effect is not None
    assert abs(with_control.effect) < 0.02 < without.effect


def test_two_targets_are_two_families() -> None:
    history = pl.concat([past(30), past(30, seed=2, target="other")])
    slow = pl.concat([night(30, None, latency_p95=1.3), night(30, None, target="other")])
    found = judge(history, slow, confirm=slow)
    assert {v.verdict for v in found if v.target == "other"} == {"unchanged"}
    assert "regressed" in {v.verdict for v in found if v.target == "gw"}


def at_level(level: int, factor: float) -> pl.DataFrame:
    """An exact night whose p95 is `factor` times as high at one level."""
    there = (pl.col("level") == level) & (pl.col("metric") == "latency_p95")
    return night(30, None).with_columns(value=pl.when(there).then(pl.col("value") * factor).otherwise(pl.col("value")))


def test_the_levels_to_measure_again_are_the_candidates_own() -> None:
    assert candidates(judge(past(30), at_level(50, 1.12))) == [("gw", [50])]


def test_all_levels_are_measured_again_where_a_mean_is_a_candidate() -> None:
    assert candidates(judge(past(30), at_level(50, 1.5))) == [("gw", [1, 10, 50, 100])]


def test_a_mean_of_which_only_some_levels_were_measured_again_stands_or_falls_with_those() -> None:
    slow = night(30, None, latency_p95=1.2)
    some = pl.col("level").is_in([10, 50])
    seen = judge(past(30), slow, confirm=slow.filter(some))
    gone = judge(past(30), slow, confirm=night(30, None).filter(some))
    assert (of(seen, "latency_p95", None).verdict, of(seen, "latency_p95", 1).reason) == ("regressed", "candidate")
    assert of(gone, "latency_p95", None).reason == "not confirmed"


def test_all_levels_are_measured_again_where_only_a_mean_is_a_candidate() -> None:
    def one(level: int | None, reason: str) -> Verdict:
        return Verdict("gw", "sweep", "latency_p95", level, 0.1, None, None, 0.001, None, "inconclusive", reason)

    found = [one(None, "candidate"), one(1, ""), one(10, "")]
    assert candidates(found) == [("gw", [1, 10])]


def test_false_alarms_of_quiet_nights_are_rare_and_ten_per_cent_is_seen() -> None:
    """60 quiet and 60 slower nights, each against a 30-night history; bounds: the marks and two Monte-Carlo errors."""
    rng = np.random.default_rng(20261124)
    alarms = seen = 0
    trials = 60
    for _ in range(trials):
        history = pl.concat([night(k, rng, sd=0.03) for k in range(30)])
        quiet = night(30, rng, sd=0.03)
        alarms += overall(judge(history, quiet, confirm=night(30, rng, sd=0.03))) == Word.REGRESSED
        slow = {"latency_p95": 1.1, "latency_p99": 1.1}
        verdicts = judge(history, night(30, rng, sd=0.03, **slow), confirm=night(30, rng, sd=0.03, **slow))
        seen += overall(verdicts) == Word.REGRESSED
    assert alarms / trials <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / trials)
    assert seen / trials >= 0.9 - 2 * math.sqrt(0.9 * 0.1 / trials)
