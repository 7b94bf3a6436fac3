"""Each metric once, as a named Polars expression over the stamps of the sample log.

Latency: end - sent (service time). Response time: end - intended (open loop only). TTFT: first token - sent. TPOT:
(last token - first token) / (output tokens - 1), null below two tokens. ITL: every gap between token chunks. All in
seconds.
"""

import polars as pl

from storage.records import SLOW_FAILURES

NS = 1e-9


def _seconds(end: str, start: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).cast(pl.Float64) * NS


latency = _seconds("end_ns", "sent_ns")
response = _seconds("end_ns", "intended_ns")
ttft = _seconds("first_token_ns", "sent_ns")
tpot = pl.when(pl.col("output_tokens") >= 2).then(
    _seconds("last_token_ns", "first_token_ns") / (pl.col("output_tokens") - 1)
)
cycle = _seconds("end_ns", "intended_ns")  # closed loop: from the end of the user's last request to the end of this one

ok = pl.col("failure").is_null()
slow = pl.col("failure").is_in([str(kind) for kind in SLOW_FAILURES])
timed = ok | slow.fill_null(False)  # what a latency quantile is over
