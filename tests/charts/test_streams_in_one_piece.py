"""A gateway that hands over a stream in one piece: its tokens have no time between them."""

import polars as pl

from tasks.charts.streams import streams
from tasks.charts.theme import finding


def test_tokens_that_come_all_at_once_have_a_gap_of_nothing() -> None:
    rows = [(level, "ttft", "p95", 40.0, 39.0, 41.0) for level in (1, 2)]
    rows += [(level, "itl", "p50", 0.0, 0.0, 0.0) for level in (1, 2)]
    frame = pl.DataFrame(rows, schema=["level", "quantity", "stat", "ms", "lower", "upper"], orient="row")
    assert finding(streams(frame)) == "The first token comes after 40.0 ms (TTFT p95), then one every 0.00 ms (p50)"
