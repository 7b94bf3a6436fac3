"""Each metric once, as a named Polars expression over the stamps of the sample log. All in seconds.

Latency: end - sent (service time). Response time: end - intended (open loop only). TTFT: first token - sent. TPOT:
(last token - first token) / (output tokens - 1), null below two tokens. ITL: every gap between token chunks.
"""

from dataclasses import dataclass

import polars as pl

from storage.records import SLOW_FAILURES

NS = 1e-9
US = 1e-6


def _seconds(end: str, start: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).cast(pl.Float64) * NS


ok = pl.col("failure").is_null()
slow = pl.col("failure").is_in([str(kind) for kind in SLOW_FAILURES]).fill_null(False)
timed = ok | slow  # what a latency quantile is over
streamed = pl.col("stream")

latency = _seconds("end_ns", "sent_ns")
response = _seconds("end_ns", "intended_ns")
# What an objective on latency is about: in an open loop a request that waited for room waited all the same.
felt = pl.when(pl.col("open")).then(response).otherwise(latency)
ttft = _seconds("first_token_ns", "sent_ns")
# Of a stream that told no usage the chunks are counted, which is said wherever it moves a result.
counted = streamed & pl.col("output_tokens").is_null() & pl.col("first_token_ns").is_not_null()
output_tokens = pl.when(counted).then(pl.col("chunk_gaps_us").list.len() + 1).otherwise(pl.col("output_tokens"))
tpot = pl.when(output_tokens >= 2).then(_seconds("last_token_ns", "first_token_ns") / (output_tokens - 1))
cycle = _seconds("end_ns", "intended_ns")  # closed loop: from the end of the user's last request to the end of this one


@dataclass(frozen=True, slots=True)
class Distribution:
    """A metric that has quantiles: its values over which requests, and where a value is only known from below."""

    name: str
    value: pl.Expr
    over: pl.Expr
    bound: pl.Expr


_never = pl.lit(False)
_waiting = slow & pl.col("first_token_ns").is_null()

DISTRIBUTIONS = (
    Distribution("latency", latency, timed, slow),
    Distribution("response", response, timed & pl.col("open"), slow & pl.col("open")),
    # A request that gave up before its first token waited at least its age for it: left out, TTFT would improve.
    Distribution("ttft", pl.coalesce(ttft, latency), (ok & ttft.is_not_null() | slow) & streamed, _waiting & streamed),
    Distribution("tpot", tpot, ok & streamed, _never),
)
