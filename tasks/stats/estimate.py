"""Samples -> estimates: one number a metric with its 95 % interval, per (attempt, target, series, level).

Latency quantiles are over ok, timed-out and censored requests; throughput, goodput and tokens count ok ones only.
Invalid legs, warm-up and cool-down are left out. A sweep's block is a leg; an open-loop leg is cut into equal,
consecutive pieces, which serve as its blocks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.records import Cell, Estimate, Leg, Phase, Series, Slo, Validity
from tasks.stats import metrics
from tasks.stats.blocks import log_mean, share
from tasks.stats.metrics import DISTRIBUTIONS, US
from tasks.stats.pieces import KEY, goodput_objectives, pieces
from tasks.stats.quantiles import LEAST, type8
from tasks.stats.rates import closed_rates, open_rates

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
RATE_HALF_WIDTH = 0.01  # the instrument's own: no rate is known better than 1 %
Floats = NDArray[np.float64]


def cells(samples: pl.LazyFrame | pl.DataFrame, legs: Sequence[Leg], *, slos: Sequence[Slo] = ()) -> list[Cell]:
    """Every estimate the samples allow. A metric whose blocks are too small for it is absent, never a guess."""
    known = [leg for leg in legs if leg.validity != Validity.INVALID and leg.series != Series.CALIBRATION]
    if not known:
        return []
    found: list[Cell] = []
    for key, group in pieces(samples.lazy(), known, slos).group_by(KEY, maintain_order=True):
        attempt, target, series, level, loop = (str(key[0]), str(key[1]), str(key[2]), int(str(key[3])), str(key[4]))
        for metric, estimate in _of_group(group, level, loop == "closed", bool(goodput_objectives(slos))):
            found.append(Cell(attempt, target, series, level, metric, estimate))
    return found


def _of_group(group: pl.DataFrame, level: int, closed: bool, judged: bool) -> Iterator[tuple[str, Estimate]]:
    n, ok = int(group["n"].sum()), int(group["ok"].sum())
    if ok:  # without one success there is nothing but the error rate
        for d in DISTRIBUTIONS:
            yield from _distribution(d.name, _arrays(group[d.name]), _arrays(group[f"{d.name}_bound"]))
        yield from _distribution("itl", _arrays(group["itl_us"]), [np.empty(0)] * len(group), US)
        yield from _rates(group, level, closed, judged, ok)
    yield "errors", share(n - ok, n)


def _arrays(column: pl.Series) -> list[Floats]:
    return [column[k].to_numpy() for k in range(len(column))]


def _distribution(
    name: str, values: list[Floats], bounds: list[Floats], unit: float = 1.0
) -> Iterator[tuple[str, Estimate]]:
    """`bounds`: the values known only from below; an estimate that lands on one is "at least". `unit`: in seconds."""
    n = sum(len(v) for v in values)
    fewest = min(len(v) for v in values)
    for suffix, q in QUANTILES.items():
        if fewest < LEAST[q]:
            continue
        points, at_least = [], False
        for ordered, bound in zip(values, bounds, strict=True):
            point, at = type8(ordered, q)
            points.append(point * unit)
            at_least = at_least or bool(np.isin(ordered[max(at - 1, 0) : at + 1], bound).any())
        yield f"{name}_{suffix}", log_mean(points, n, at_least=at_least)
    if fewest:
        means = [float(v.mean()) * unit for v in values]
        yield f"{name}_mean", log_mean(means, n, at_least=any(len(bound) for bound in bounds))


def _rates(group: pl.DataFrame, level: int, closed: bool, judged: bool, ok: int) -> Iterator[tuple[str, Estimate]]:
    facts = group.select("leg_id", "n", "ok", "good", "tokens", "with_tokens", "cycle", "^.*_ns$").to_dicts()
    rates = closed_rates(facts, level) if closed else open_rates(facts)
    if not rates:
        return
    yield "throughput", log_mean([r.throughput for r in rates], ok, least_half_width=RATE_HALF_WIDTH)
    if judged:
        yield "goodput", log_mean([r.goodput for r in rates], ok, least_half_width=RATE_HALF_WIDTH)
    tokens = [r.tokens for r in rates if r.tokens is not None]
    if len(tokens) == len(rates):
        yield "output_tokens_per_s", log_mean(tokens, ok, least_half_width=RATE_HALF_WIDTH)


def turnarounds(samples: pl.LazyFrame | pl.DataFrame, legs: Sequence[Leg]) -> dict[str, float]:
    """Closed-loop legs: the time our users took between two requests, as a share of the mean latency.

    The cycle of a request is from the end of its user's previous one to its own end, so N ÷ mean cycle is completions ÷
    time without the ramp and the drain at the edges. While a user is between two requests, the target has one less.
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
