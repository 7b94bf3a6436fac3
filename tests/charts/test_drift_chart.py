"""The chart of a slow change says what it shows, and the frame behind it is that of the nights."""

import math

import polars as pl
import pytest

from storage.incidents import DriftNight
from storage.records import Drift
from tasks.charts.drift import drift
from tasks.charts.theme import finding, to_png
from tasks.report.drifts import drift_frame

SCHEMA = {"night": pl.Int64, "label": pl.String, "baseline": pl.Boolean, "effect": pl.Float64, "lower": pl.Float64,
          "upper": pl.Float64, "c": pl.Float64}  # fmt: skip


def frame(*after: tuple[float, float]) -> pl.DataFrame:
    """Three nights of the baseline, then (effect, sum) a night."""
    rows = [(k, f"night {k}", True, 0.001 * k, -0.02, 0.02, None) for k in (1, 2, 3)]
    more = [(k, f"2026-06-{k:02}", False, effect, -0.02, 0.02, c) for k, (effect, c) in enumerate(after, start=4)]
    return pl.DataFrame([*rows, *more], schema=SCHEMA, orient="row")


@pytest.mark.parametrize(
    ("after", "metric", "onset", "said"),
    [
        (
            [(0.01, 0.0), (0.03, 5.0), (0.05, 9.5)], "latency_p50", 4,
            "p50 latency over all levels drifts since 2026-06-04: +5.0 % tonight against 3 nights of the baseline",
        ),
        (
            [(0.05, 9.5)], "throughput", 3,
            "throughput over all levels drifts since night 3: −4.8 % tonight against 3 nights of the baseline",
        ),
        (
            [(0.05, 8.0)], "latency_p50", 3,
            "p50 latency over all levels does not drift: +5.0 % tonight against 3 nights of the baseline",
        ),
        ([], "latency_p50", None, "p50 latency over all levels: 3 nights in the baseline, too few to tell a drift"),
    ],
    ids=["an alarm", "an alarm of the first night", "at the limit", "no sum yet"],
)  # fmt: skip
def test_the_title_says_whether_it_drifts_since_when_and_by_how_much(
    after: list[tuple[float, float]], metric: str, onset: int | None, said: str
) -> None:
    chart = drift(frame(*after), metric, "over all levels", limit=8.0, onset=onset)
    assert finding(chart) == said


def test_it_draws_also_without_a_band_and_with_an_onset_that_is_not_shown() -> None:
    bare = frame((0.01, 2.0)).with_columns(lower=None, upper=None).cast(SCHEMA)
    assert to_png(drift(bare, "latency_p95", "", limit=8.0, onset=99)).startswith(b"\x89PNG")


def night(number: int, effect: float, z: float, c: float, *, held: bool = False) -> DriftNight:
    one = Drift("gw", "sweep", "latency_p50", number, effect, z, c, 3, None, 0, c > 8)
    return DriftNight(f"2026-06-{number:02}T02:00:00+00:00", held, one)


def gate_rows(values: list[tuple[float, float]]) -> pl.DataFrame:
    """(level 1, level 10) a night, from night 1."""
    rows = [(k, level, v) for k, pair in enumerate(values, start=1) for level, v in zip((1, 10), pair, strict=True)]
    table = pl.DataFrame(rows, schema=["night", "level", "value"], orient="row")
    return table.with_columns(metric=pl.lit("latency_p50"))


def test_the_frame_puts_the_baseline_before_the_nights_that_have_a_sum() -> None:
    found = drift_frame(
        [night(3, 0.02, 1.0, 0.5, held=True), night(4, 0.05, 2.4, 2.4)],
        gate_rows([(1.0, 4.0), (1.1, 4.4), (9.0, 9.0)]),  # the third is there already, with its sum
    )
    assert found["night"].to_list() == [1, 2, 3, 4]
    assert found["label"].to_list() == ["night 1", "night 2", "2026-06-03", "2026-06-04"]
    assert found["baseline"].to_list() == [True, True, True, False]
    assert found["c"].to_list() == [None, None, 0.5, 2.4]
    centre = (math.log(2) + math.log(2.2) + math.log(9)) / 3
    assert found["effect"][0] == pytest.approx(math.exp(math.log(2) - centre) - 1)
    assert found["upper"][0] == pytest.approx((1.05) ** (1.96 / 2.4) - 1)  # ± 1.96 of the gate's own sd


def test_without_a_baseline_or_a_spread_the_frame_has_the_nights_alone() -> None:
    found = drift_frame([night(3, 0.0, 0.0, 0.0)], None)
    assert found.rows() == [(3, "2026-06-03", False, 0.0, None, None, 0.0)]
