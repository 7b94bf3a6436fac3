"""Slow change: the sum by hand, the onset, the pace, and what ends it."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import theilslopes

from storage.records import Drift, Verdict
from tasks.stats.drift import DriftRules, cusum, drift_words, raised, theil_sen

SCHEMA = {"night": pl.Int64, "target": pl.String, "series": pl.String, "level": pl.Int64, "metric": pl.String,
          "value": pl.Float64, "n": pl.Int64}  # fmt: skip


def nights(moves: list[float], first: int = 0, levels: tuple[int, ...] = (1, 10)) -> pl.DataFrame:
    """p50 of 100 ms times e^move, the same at each level."""
    rows = [
        (first + k, "gw", "sweep", level, "latency_p50", 0.1 * math.exp(move), 1000)
        for k, move in enumerate(moves)
        for level in levels
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


ANCHOR = nights([0.02 * (-1) ** k for k in range(30)])


def one(found: list[Drift]) -> Drift:
    (drift,) = found
    return drift


def test_the_sum_adds_what_is_above_the_allowance_and_an_outlier_counts_at_its_cap() -> None:
    first = one(cusum(ANCHOR, nights([0.05], 30)))
    assert first.c == pytest.approx(first.z - 0.5)
    second = one(cusum(ANCHOR, nights([5.0], 31), before=[first]))
    assert (second.c, second.night) == (pytest.approx(first.c + 2.0), 31)


def test_the_sum_never_falls_below_nothing_and_has_no_onset_there() -> None:
    found = one(cusum(ANCHOR, nights([-0.05], 30)))
    assert (found.c, found.onset, found.slope, found.alarm) == (0.0, None, None, False)


def test_the_onset_is_the_last_night_on_which_the_sum_was_nothing() -> None:
    found = one(cusum(ANCHOR, nights([-0.1, -0.1, 0.1, 0.1, 0.1], 30)))
    assert (found.night, found.onset) == (34, 31)
    assert found.c == pytest.approx(3 * 2.0)


def test_nights_after_the_anchor_may_stand_in_history_in_tonight_or_be_kept_by_the_caller() -> None:
    moves = [0.03, 0.01, 0.05, 0.04]
    at_once = cusum(pl.concat([ANCHOR, nights(moves[:3], 30)]), nights(moves[3:], 33))
    together = cusum(ANCHOR, nights(moves, 30))
    kept: list[Drift] = []
    for k, move in enumerate(moves):
        kept += cusum(ANCHOR, nights([move], 30 + k), before=kept)
    assert at_once == together == kept[-1:]


def test_it_alarms_above_the_limit_and_three_nights_like_the_anchor_end_it() -> None:
    found = cusum(ANCHOR, nights([0.1] * 5, 30))
    assert (one(found).alarm, one(found).calm) == (True, 0)
    kept = found
    for k, (calm, alarm) in enumerate([(1, True), (2, True), (0, False)]):
        kept = [*kept, *cusum(ANCHOR, nights([0.0], 35 + k), before=kept)]
        assert (kept[-1].calm, kept[-1].alarm) == (calm, alarm)
    assert (kept[-1].c, kept[-1].onset) == (0.0, None)


def test_a_short_anchor_says_nothing_and_a_series_of_one_level_is_its_own_mean() -> None:
    assert cusum(nights([0.0, 0.01] * 4), nights([0.1], 8)) == []
    alone = nights([0.02 * (-1) ** k for k in range(30)], levels=(0,))
    assert one(cusum(alone, nights([0.05], 30, levels=(0,)))).c > 0


def test_a_metric_that_was_not_measured_adds_nothing() -> None:
    assert cusum(ANCHOR, nights([0.1], 30, levels=())) == []
    assert cusum(ANCHOR, nights([0.1], 30).with_columns(value=pl.lit(None, dtype=pl.Float64))) == []


def test_the_slope_is_the_median_of_all_pairs_as_scipy_has_it() -> None:
    rng = np.random.default_rng(3)
    for n in (3, 4, 11, 40):
        x, y = np.arange(n, dtype=float), rng.normal(size=n)
        assert theil_sen(x, y) == pytest.approx(theilslopes(y, x)[0])
    assert theil_sen([1, 2], [1, 2]) is None


def test_half_a_per_cent_a_night_is_told_as_such() -> None:
    creep = [math.log(1.005) * (k + 1) + 0.001 * (-1) ** k for k in range(14)]
    found = one(cusum(ANCHOR, nights(creep, 30)))
    assert found.alarm
    assert found.slope == pytest.approx(0.005, abs=0.0005)
    assert drift_words(found, "2026-11-03") == "drift of +0.5 % a night since 2026-11-03"


def verdict(metric: str, level: int | None, word: str = "unchanged") -> Verdict:
    return Verdict("gw", "sweep", metric, level, 0.03, 0.01, 0.05, 0.02, 0.04, word, "")


def test_a_drift_raises_the_mean_and_leaves_levels_and_others_as_they_are() -> None:
    alarm = Drift("gw", "sweep", "latency_p50", 40, 0.03, 2.0, 9.0, 30, 0.004, 0, True)
    given = [verdict("latency_p50", 10), verdict("latency_p50", None), verdict("latency_p95", None)]
    found = raised(given, [alarm], {("gw", "sweep", "latency_p50"): "2026-11-03"})
    assert [v.verdict for v in found] == ["unchanged", "regressed", "unchanged"]
    assert found[1].reason == "drift of +0.4 % a night since 2026-11-03"


def test_a_night_like_the_anchor_is_not_called_regressed_while_the_sum_is_still_high() -> None:
    calm = Drift("gw", "sweep", "latency_p50", 40, 0.0, 0.1, 9.0, 30, 0.004, 1, True)
    assert raised([verdict("latency_p50", None)], [calm], {}) == [verdict("latency_p50", None)]


def test_what_the_gate_calls_regressed_keeps_its_reason() -> None:
    alarm = Drift("gw", "sweep", "latency_p50", 40, 0.03, 2.0, 9.0, 30, None, 0, True)
    given = [verdict("latency_p50", None, "regressed")]
    assert raised(given, [alarm], {}) == given


def test_the_rules_are_the_pages() -> None:
    assert (DriftRules().allowance, DriftRules().cap, DriftRules().limit) == (0.5, 2.5, 8.0)
