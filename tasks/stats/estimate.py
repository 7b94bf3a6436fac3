"""Samples -> estimates: one number a metric with its 95 % interval, per (attempt, target, series, level).

Latency quantiles are over ok, timed-out and censored requests; throughput, goodput and tokens count ok ones only.
Invalid legs, warm-up and cool-down are left out. A sweep's block is a leg; an open-loop leg is cut into PIECES equal,
consecutive pieces, which serve as its blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.records import SLOW_FAILURES, Cell, Estimate, Leg, Phase, Series, Slo, Validity
from tasks.stats import metrics
from tasks.stats.blocks import log_mean, share
from tasks.stats.quantiles import LEAST, type8

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
PIECES = 5
RATE_HALF_WIDTH = 0.01  # the instrument's own: no rate is known better than 1 %
_FLOAT = pl.Float64
_KEY = ["attempt", "target", "series", "level", "loop"]


def cells(samples: pl.LazyFrame | pl.DataFrame, legs: Sequence[Leg], *, slos: Sequence[Slo] = ()) -> list[Cell]:
    """Every estimate the samples allow. A metric whose blocks are too small for it is absent, never a guess."""
    known = [leg for leg in legs if leg.validity != Validity.INVALID and leg.series != Series.CALIBRATION]
    if not known:
        return []
    blocks = _blocks(samples.lazy(), known, slos)
    found: list[Cell] = []
    for key, group in blocks.group_by(_KEY, maintain_order=True):
        attempt, target, series, level, loop = (str(key[0]), str(key[1]), str(key[2]), int(str(key[3])), str(key[4]))
        for metric, estimate in _of_group(group, level, loop == "closed", bool(slos)):
            found.append(Cell(attempt, target, series, level, metric, estimate))
    return found


def _blocks(samples: pl.LazyFrame, legs: Sequence[Leg], slos: Sequence[Slo]) -> pl.DataFrame:
    """One row a block: counts, sums, and the sorted values that quantiles are taken of."""
    facts = pl.LazyFrame(
        {
            "leg_id": [leg.leg_id for leg in legs],
            "series": [str(leg.series) for leg in legs],
            "loop": [leg.loop for leg in legs],
        },
        schema={"leg_id": pl.String, "series": pl.String, "loop": pl.String},
    )
    rows = samples.filter(pl.col("phase") == Phase.MEASURED).join(facts, on="leg_id", how="inner")
    rank = pl.col("intended_ns").rank("ordinal").over("leg_id") - 1
    size = pl.len().over("leg_id")
    piece = pl.when(pl.col("loop") == "closed").then(pl.lit(0)).otherwise((rank * PIECES) // size)
    rows = rows.with_columns(piece.alias("piece"))
    failure = pl.col("failure")
    stuck = pl.when(metrics.timed).then(failure.is_in([str(k) for k in SLOW_FAILURES]).fill_null(False))
    open_loop = pl.col("loop") == "open"
    return (
        rows.group_by([*_KEY, "leg_id", "piece"])
        .agg(
            pl.len().alias("n"),
            metrics.ok.sum().alias("ok"),
            _good(slos).sum().alias("good"),
            metrics.latency.filter(metrics.timed).sort().alias("latency"),
            pl.struct(metrics.latency.alias("v"), stuck.alias("stuck"))
            .filter(metrics.timed & (stuck == True))  # noqa: E712 - null is not stuck
            .struct.field("v")
            .min()
            .alias("stuck_from"),
            metrics.response.filter(metrics.timed & open_loop).sort().alias("response"),
            metrics.ttft.filter(metrics.ok & pl.col("stream")).drop_nulls().sort().alias("ttft"),
            metrics.tpot.filter(metrics.ok & pl.col("stream")).drop_nulls().sort().alias("tpot"),
            (pl.col("chunk_gaps_us").filter(metrics.ok).explode().drop_nulls().cast(_FLOAT) * 1e-6).sort().alias("itl"),
            pl.col("output_tokens").filter(metrics.ok).sum().alias("tokens"),
            pl.col("output_tokens").filter(metrics.ok).count().alias("with_tokens"),
            pl.col("intended_ns").min().alias("from_ns"),
            pl.col("intended_ns").max().alias("to_ns"),
        )
        .sort([*_KEY, "leg_id", "piece"])
        .collect()
    )


def _good(slos: Sequence[Slo]) -> pl.Expr:
    """ok and inside every unscoped objective that a single request can keep: a mean or an error rate is not one."""
    good = metrics.ok
    value = {"latency": metrics.latency, "ttft": metrics.ttft, "tpot": metrics.tpot}
    for slo in slos:
        if slo.level is None and slo.stat.startswith("p") and slo.quantity in value:
            good = good & (value[slo.quantity] <= slo.threshold).fill_null(False)
    return good


@dataclass(frozen=True, slots=True)
class _Rates:
    """Of one block, each a second."""

    throughput: float
    goodput: float
    tokens: float | None


def _of_group(group: pl.DataFrame, level: int, closed: bool, judged: bool) -> Iterator[tuple[str, Estimate]]:
    blocks = group.to_dicts()
    for name in ("latency", "response", "ttft", "tpot", "itl"):
        values = [np.asarray(block[name], dtype=np.float64) for block in blocks]
        stuck = [block["stuck_from"] for block in blocks] if name == "latency" else [None] * len(blocks)
        yield from _distribution(name, values, stuck)
    rates = _closed_rates(blocks, level) if closed else _open_rates(blocks)
    n = sum(block["ok"] for block in blocks)
    if rates:
        yield from _rate("throughput", [r.throughput for r in rates], n)
        if judged:
            yield from _rate("goodput", [r.goodput for r in rates], n)
        tokens = [r.tokens for r in rates if r.tokens is not None]
        if len(tokens) == len(rates):
            yield from _rate("output_tokens_per_s", tokens, n)
    total = sum(block["n"] for block in blocks)
    yield "errors", share(total - n, total)


def _distribution(
    name: str, values: list[NDArray[np.float64]], stuck: Sequence[float | None]
) -> Iterator[tuple[str, Estimate]]:
    n = sum(len(v) for v in values)
    for suffix, q in QUANTILES.items():
        if min(len(v) for v in values) < LEAST[q]:
            continue
        points, at_least = [], False
        for ordered, from_value in zip(values, stuck, strict=True):
            point, at = type8(ordered, q)
            points.append(point)
            at_least = at_least or (from_value is not None and ordered[at] >= from_value)
        if min(points) > 0:
            yield f"{name}_{suffix}", log_mean(points, n, at_least=at_least)
    means = [float(v.mean()) for v in values if len(v)]
    if len(means) == len(values) and min(means) > 0:
        yield f"{name}_mean", log_mean(means, n, at_least=any(s is not None for s in stuck))


def _closed_rates(blocks: list[dict[str, Any]], level: int) -> list[_Rates]:
    """Little's law a block: level ÷ mean time in the system is what passes through, ok or not; of that the ok share
    counts. Time in the system is that of ok, timed-out and censored requests. Empty if a block has none ok."""
    rates = []
    for block in blocks:
        mean = float(np.mean(block["latency"])) if block["ok"] else 0.0
        if mean <= 0:
            return []
        rates.append(_share_out(level / mean, block))
    return rates


def _open_rates(blocks: list[dict[str, Any]]) -> list[_Rates]:
    """Requests ÷ the time over which they were due, whole: the pieces differ by the traffic's own bursts, which is no
    measure of error, so there is no interval."""
    names = ("n", "ok", "good", "tokens", "with_tokens")
    whole = {name: sum(block[name] for block in blocks) for name in names}
    span = max(block["to_ns"] for block in blocks) - min(block["from_ns"] for block in blocks)
    if not whole["ok"] or span <= 0:
        return []
    return [_share_out((whole["n"] - 1) / (span * metrics.NS), whole)]


def _share_out(rate: float, block: dict[str, Any]) -> _Rates:
    throughput = rate * block["ok"] / block["n"]
    tokens = throughput * block["tokens"] / block["with_tokens"] if block["with_tokens"] else None
    return _Rates(throughput, rate * block["good"] / block["n"], tokens)


def _rate(name: str, values: Sequence[float], n: int) -> Iterator[tuple[str, Estimate]]:
    if min(values) > 0:
        yield name, log_mean(values, n, least_half_width=RATE_HALF_WIDTH)
    elif max(values) == 0:
        yield name, Estimate(0.0, None, None, n, len(values))
    else:  # some blocks had none at all: no logarithm, so a plain mean and no interval
        yield name, Estimate(float(np.mean(values)), None, None, n, len(values))


def little_check(samples: pl.LazyFrame | pl.DataFrame, legs: Sequence[Leg]) -> dict[str, float]:
    """Closed-loop legs: how far N ÷ mean latency lies above N ÷ mean cycle, as a share.

    The cycle of a request is from the end of its user's previous one to its own end, so N ÷ mean cycle is completions ÷
    time without the ramp and the drain at the edges. The difference is the time our users spent between requests.
    """
    closed = [leg.leg_id for leg in legs if leg.loop == "closed"]
    frame = (
        samples.lazy()
        .filter((pl.col("phase") == Phase.MEASURED) & pl.col("leg_id").is_in(closed))
        .group_by("leg_id")
        .agg(metrics.latency.mean().alias("latency"), metrics.cycle.mean().alias("cycle"))
        .filter(pl.col("latency") > 0)
        .collect()
    )
    return {row["leg_id"]: row["cycle"] / row["latency"] - 1 for row in frame.to_dicts()}
