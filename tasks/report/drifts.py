"""Slow change as a figure: where each night left the sum of small moves, and the baseline that it is held against."""

import math
from collections.abc import Sequence

import polars as pl

from storage.incidents import DriftNight
from storage.records import Drift
from tasks.charts.drift import drift
from tasks.charts.words import place_words
from tasks.report.pictures import Figure, figure
from tasks.report.view import RunView

LIMIT = 8.0  # as the rules of the drift have it
NOTE = (
    "Above: each night against the mean of the baseline's nights, up is worse; grey: where an unchanged night lies. "
    "Below: the sum of what lies above it, less an allowance; dotted: the night on which it was last 0."
)
FIGURES = dict.fromkeys(("effect", "lower", "upper", "c"), pl.Float64)
SCHEMA = {"night": pl.Int64, "label": pl.String, "baseline": pl.Boolean, **FIGURES}


def drift_figures(view: RunView, target: str, index: int) -> list[Figure]:
    """The metric of a target that has moved most in small steps; none where nothing has come half of the way."""
    last = {(n.drift.series, n.drift.metric): n.drift for n in view.drifts if n.drift.target == target}
    if not last:
        return []
    most = max(last.values(), key=lambda d: d.c)
    if most.c <= LIMIT / 2:
        return []
    mine = [n for n in view.drifts if _key(n.drift) == _key(most)]
    return [drift_figure(mine, view.history, f"drift-{index}")]


def drift_figure(found: Sequence[DriftNight], history: pl.DataFrame | None, name: str) -> Figure:
    """`found`: of one target, series and metric, oldest first; `history`: the gate's rows of the baseline."""
    last = found[-1].drift
    rows = None if history is None else _rows(history, last)
    frame = drift_frame(found, rows)
    where = place_words(last.series, None) if rows is None or rows["level"].n_unique() > 1 else ""
    chart = drift(frame, last.metric, where, limit=LIMIT, onset=last.onset)
    return figure(name, NOTE, chart, frame)


def drift_frame(found: Sequence[DriftNight], rows: pl.DataFrame | None) -> pl.DataFrame:
    """As `charts.drift` wants it. The nights of the baseline before the first of `found` stand before it; `rows`: the
    gate's of this number."""
    first = found[0].drift
    away = [n.drift for n in found if n.drift.z != 0]
    sd = math.log1p(away[-1].effect) / away[-1].z if away else None  # the gate's own, of the last night
    lower, upper = (None, None) if sd is None else (math.expm1(-1.96 * sd), math.expm1(1.96 * sd))
    made: list[tuple[int, str, bool, float, float | None, float | None, float | None]] = [
        (night, f"night {night}", True, effect, lower, upper, None)
        for night, effect in ([] if rows is None else _anchor(rows))
        if night < first.night
    ]
    made += [(n.drift.night, n.started_at[:10], n.in_baseline, n.drift.effect, lower, upper, n.drift.c) for n in found]
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def _key(drift: Drift) -> tuple[str, str, str]:
    return drift.target, drift.series, drift.metric


def _rows(history: pl.DataFrame, of: Drift) -> pl.DataFrame:
    same = (pl.col("target") == of.target) & (pl.col("series") == of.series) & (pl.col("metric") == of.metric)
    return history.filter(same & (pl.col("value") > 0))


def _anchor(rows: pl.DataFrame) -> list[tuple[int, float]]:
    """(night, ratio − 1 of its mean over levels against that of all nights, up is worse), nights counted from 1."""
    if rows.is_empty():
        return []
    sign = -1.0 if rows["metric"][0] == "throughput" else 1.0
    means = rows.group_by("night").agg(y=sign * pl.col("value").log().mean()).sort("night")
    away = means["y"] - means["y"].mean()
    return [(k, math.expm1(y)) for k, y in enumerate(away.to_list(), start=1)]
