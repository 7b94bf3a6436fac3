"""Samples -> how many requests of each leg went the same way: one narrow pass, from which costs and gateway facts are
summed."""

from collections.abc import Sequence

import polars as pl

from storage.records import CONTROL, Failure, Leg, Series
from tasks.stats.metrics import counted

KEY = (
    *("leg_id", "phase", "stream", "status", "failure", "finish_reason", "model_asked", "model_served"),
    *("cache_hit", "fallbacks", "attempts", "retry_after_s"),
)
# Nothing was generated, so nothing was spent: the request did not get there, or was refused at the door.
_NEVER_THERE = [
    str(kind) for kind in (Failure.DNS, Failure.CONNECT, Failure.LOCAL, Failure.TLS, Failure.TIMEOUT_CONNECT)
]


def kinds(samples: pl.LazyFrame, legs: Sequence[Leg]) -> pl.DataFrame:
    """KEY, n, unknown, told, input_tokens, cached_tokens, output_tokens, counted; no control, no calibration.

    `told`: requests with tokens. `unknown`: requests that may have cost something although their tokens were not told.
    Seconds of Retry-After are rounded to a tenth.
    """
    mine = [leg.leg_id for leg in legs if leg.target != CONTROL and leg.series != Series.CALIBRATION]
    refused = (pl.col("status") >= 300).fill_null(False) | pl.col("failure").is_in(_NEVER_THERE).fill_null(False)
    untold = pl.any_horizontal(pl.col("input_tokens", "output_tokens").is_null())
    put, got = pl.col("input_tokens"), pl.col("output_tokens")
    return (
        samples.filter(pl.col("leg_id").is_in(mine))
        .with_columns(pl.col("retry_after_s").round(1))
        .group_by(KEY)
        .agg(
            pl.len().alias("n"),
            (untold & ~refused).sum().alias("unknown"),
            pl.any_horizontal(put.is_not_null(), got.is_not_null()).sum().alias("told"),
            put.sum().alias("input_tokens"),
            pl.min_horizontal(pl.col("cached_tokens").fill_null(0), put.fill_null(0)).sum().alias("cached_tokens"),
            got.sum().alias("output_tokens"),
            counted.sum().alias("counted"),
        )
        .sort(KEY)
        .collect()
    )
