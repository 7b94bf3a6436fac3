"""The small frames that the figures are drawn from and that stand as tables behind them, all but those of the rows."""

import polars as pl

from storage.records import CONTROL, Attempt, Estimate, Series
from tasks.charts.words import metric_words, place_words
from tasks.report.view import RunView, estimate, first_legs, levels, targets

JUDGED = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
STREAMED = frozenset({"ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95", "itl_p50", "itl_p95", "itl_p99"})
_NUMBER = dict.fromkeys(("ms", "lower", "upper"), pl.Float64)


def rates(view: RunView, target: str) -> pl.DataFrame:
    """level, metric (throughput, goodput), rps, lower, upper: the sweep of one target, rising."""
    return _cells(view, target, {"throughput": "throughput", "goodput": "goodput"}, name="metric", value="rps", scale=1)


def latencies(view: RunView, target: str) -> pl.DataFrame:
    """level, stat (p50, p95, p99), ms, lower, upper: the sweep of one target, rising."""
    wanted = {f"latency_{stat}": stat for stat in ("p50", "p95", "p99")}
    return _cells(view, target, wanted, name="stat", value="ms", scale=1e3)


def failed(view: RunView, target: str) -> pl.DataFrame:
    """level, kind, requests, measured: what failed against one target, nothing where nothing did."""
    legs = first_legs(view, target)
    measured: dict[int, int] = {}
    kinds: dict[tuple[int, str], int] = {}
    for leg in legs:
        measured[leg.level] = measured.get(leg.level, 0) + leg.measured
        for kind, n in leg.failed.items():
            kinds[leg.level, kind] = kinds.get((leg.level, kind), 0) + n
    rows = [(level, kind, n, measured[level]) for (level, kind), n in sorted(kinds.items()) if n]
    schema = {"level": pl.Int64, "kind": pl.String, "requests": pl.Int64, "measured": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def lags(view: RunView) -> pl.DataFrame:
    """leg (order in which they ran, from 1), level, block, lag_ms, validity, of all legs that know their lag."""
    legs = [leg for leg in view.legs if leg.series != Series.CALIBRATION and leg.target != CONTROL]
    legs = sorted(legs, key=lambda leg: leg.started_at)
    rows = [
        (order, leg.level, leg.block, leg.health.schedule_lag_p99_ms, leg.validity)
        for order, leg in enumerate(legs, start=1)
        if leg.health.schedule_lag_p99_ms is not None
    ]
    schema = {
        "leg": pl.Int64,
        "level": pl.Int64,
        "block": pl.Int64,
        "lag_ms": pl.Float64,
        "validity": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def relative(view: RunView, target: str) -> pl.DataFrame:
    """what, night (None: tonight), ratio, verdict: each judged number against the median of its past nights."""
    words = {(v.series, v.level, v.metric): v.verdict for v in view.verdicts if v.target == target}
    rows: list[tuple[str, int | None, float, str | None]] = []
    for metric in JUDGED:
        for series, level in levels(view, target):
            tonight = estimate(view, target, series, level, metric)
            past = past_nights(view, target, series, level, metric)
            middle = past["value"].median() if past.height else None
            if tonight is None or not isinstance(middle, float) or middle <= 0:
                continue
            what = f"{metric_words(metric)} {place_words(series, level)}"
            rows += [(what, int(night), value / middle - 1, None) for night, value in past.iter_rows()]
            rows.append((what, None, tonight.point / middle - 1, words.get((series, level, metric))))
    schema = {"what": pl.String, "night": pl.Int64, "ratio": pl.Float64, "verdict": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("verdict").fill_null("not judged"))


def past_nights(view: RunView, target: str, series: str, level: int, metric: str) -> pl.DataFrame:
    """night, value (natural units), in the order of the nights."""
    if view.history is None:
        return pl.DataFrame(schema={"night": pl.Int64, "value": pl.Float64})
    same = (pl.col("target") == target) & (pl.col("series") == series) & (pl.col("metric") == metric)
    return view.history.filter(same & (pl.col("level") == level)).sort("night").select("night", "value")


def streamed(view: RunView, target: str) -> pl.DataFrame:
    """level (0: replay or load), quantity (ttft, tpot, itl), stat, ms, lower, upper: what one target's streams took."""
    rows = [
        (c.level, *c.metric.split("_"), *(None if end is None else end * 1e3 for end in _ends(c.estimate)))
        for c in view.cells
        if c.target == target and c.attempt == Attempt.FIRST and c.series != Series.STRESS and c.metric in STREAMED
    ]
    schema = {"level": pl.Int64, "quantity": pl.String, "stat": pl.String, **_NUMBER}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("quantity", "level", "stat")


def traded(view: RunView, target: str, stat: str) -> pl.DataFrame:
    """level, rps, rps_lower, rps_upper, ms, lower, upper: throughput and latency by level, of one sweep."""
    rate = rates(view, target).filter(pl.col("metric") == "throughput").drop("metric")
    latency = latencies(view, target).filter(pl.col("stat") == stat).drop("stat")
    rate = rate.rename({"lower": "rps_lower", "upper": "rps_upper"})
    return rate.join(latency, on="level").sort("level")


def together(view: RunView) -> pl.DataFrame:
    """target, level, metric, value (ms, a second), lower, upper: of the numbers that two targets or more have."""
    names = targets(view)
    rows = []
    for metric in ("latency_p95", "ttft_p95", "throughput"):
        k = 1.0 if metric == "throughput" else 1e3
        for name in names:
            for series, level in levels(view, name):
                found = estimate(view, name, series, level, metric)
                if found is not None and series != Series.STRESS:
                    rows.append((name, level, metric, *(None if v is None else v * k for v in _ends(found))))
    schema = {"target": pl.String, "level": pl.Int64, "metric": pl.String, "value": pl.Float64}
    frame = pl.DataFrame(rows, schema={**schema, "lower": pl.Float64, "upper": pl.Float64}, orient="row")
    return frame.filter(pl.col("target").n_unique().over("metric", "level") > 1)


def _cells(view: RunView, target: str, wanted: dict[str, str], *, name: str, value: str, scale: float) -> pl.DataFrame:
    rows = [
        (c.level, wanted[c.metric], *(None if end is None else end * scale for end in _ends(c.estimate)))
        for c in view.cells
        if c.target == target and c.series == Series.SWEEP and c.attempt == Attempt.FIRST and c.metric in wanted
    ]
    schema = {"level": pl.Int64, name: pl.String, value: pl.Float64, "lower": pl.Float64, "upper": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("level", name)


def _ends(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.point, estimate.lower, estimate.upper
