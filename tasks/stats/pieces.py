"""Samples -> one row a block: counts, sums, and the sorted values that quantiles are taken of. One lazy pass."""

from collections.abc import Sequence

import polars as pl

from storage.records import Leg, Phase, Slo
from tasks.stats import metrics
from tasks.stats.metrics import DISTRIBUTIONS, US

PIECES = 5
KEY = ["attempt", "target", "series", "level", "loop"]
_PER_REQUEST = {"latency": metrics.felt, "ttft": metrics.ttft, "tpot": metrics.tpot}


def pieces(samples: pl.LazyFrame, legs: Sequence[Leg], slos: Sequence[Slo]) -> pl.DataFrame:
    """A closed-loop leg is one block; an open-loop leg is cut into PIECES equal, consecutive ones.

    What a leg says of all its rows is joined to the blocks and not to the rows: ten million rows stay narrow.
    """
    waits_for_none = [leg.leg_id for leg in legs if leg.loop == "open"]
    rows = samples.filter((pl.col("phase") == Phase.MEASURED) & pl.col("leg_id").is_in([leg.leg_id for leg in legs]))
    by = ["leg_id"]
    if waits_for_none:
        rank = pl.col("intended_ns").rank("ordinal").over("leg_id") - 1
        cut = pl.when(pl.col("open")).then((rank * PIECES) // pl.len().over("leg_id")).otherwise(0)
        rows = rows.with_columns(pl.col("leg_id").is_in(waits_for_none).alias("open")).with_columns(cut.alias("piece"))
        by = ["leg_id", "piece"]
    else:
        rows = rows.with_columns(pl.lit(False).alias("open"))
    blocks = rows.group_by(by).agg(*_figures(slos)).join(_facts(legs), on="leg_id").sort([*KEY, *by])
    return blocks.collect()


def _figures(slos: Sequence[Slo]) -> list[pl.Expr]:
    gaps = pl.col("chunk_gaps_us").filter(metrics.ok & metrics.streamed).explode().drop_nulls()
    return [
        pl.len().alias("n"),
        metrics.ok.sum().alias("ok"),
        _good(slos).sum().alias("good"),
        *(d.value.filter(d.over).drop_nulls().sort().alias(d.name) for d in DISTRIBUTIONS),
        *(d.value.filter(d.bound).alias(f"{d.name}_bound") for d in DISTRIBUTIONS),
        gaps.sort().alias("itl_us"),
        metrics.output_tokens.filter(metrics.ok).sum().alias("tokens"),
        metrics.output_tokens.filter(metrics.ok).count().alias("with_tokens"),
        metrics.cycle.mean().alias("cycle"),
        pl.col("intended_ns").min().alias("from_ns"),
        pl.col("intended_ns").max().alias("to_ns"),
        pl.col("intended_ns").mean().alias("mean_start_ns"),
        pl.col("end_ns").mean().alias("mean_end_ns"),
    ]


def _facts(legs: Sequence[Leg]) -> pl.LazyFrame:
    names = ("leg_id", *KEY)
    kinds = {name: pl.Int64 if name == "level" else pl.String for name in names}
    return pl.LazyFrame({name: [getattr(leg, name) for leg in legs] for name in names}, schema=kinds)


def goodput_objectives(slos: Sequence[Slo]) -> list[Slo]:
    """Those that one request can keep or break: unscoped quantiles. A mean or an error rate is not one."""
    names = (*_PER_REQUEST, "itl")
    return [s for s in slos if s.level is None and s.stat.startswith("p") and s.quantity in names]


def _good(slos: Sequence[Slo]) -> pl.Expr:
    """ok and inside every objective; one on a metric the request does not have (TTFT without a stream) is kept."""
    good = metrics.ok
    for slo in goodput_objectives(slos):
        if slo.quantity == "itl":  # the same quantile over the request's own gaps
            kept = pl.col("chunk_gaps_us").list.eval(pl.element() * US <= slo.threshold).list.mean()
            good = good & (kept >= int(slo.stat[1:]) / 100).fill_null(True)
        else:
            good = good & (_PER_REQUEST[slo.quantity] <= slo.threshold).fill_null(True)
    return good
