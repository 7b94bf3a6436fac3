"""What of the sampled rows goes into AIPerf's file."""

import polars as pl

from flows.exports import requests
from storage.files import polars_schema
from tests.fakes.records import leg

L1 = leg(leg_id="l1")


def rows(*changes: dict[str, object]) -> pl.LazyFrame:
    usual = {
        "leg_id": "l1",
        "phase": "measured",
        "stream_label": "main",
        "stream": True,
        "sent_ns": 0,
        "first_token_ns": 100_000_000,
        "last_token_ns": 400_000_000,
        "end_ns": 500_000_000,
        "chunk_gaps_us": [100_000, 200_000],
        "output_tokens": 4,
    }
    return pl.LazyFrame([{**usual, **change} for change in changes], schema=polars_schema())


def test_measured_requests_of_these_legs_only_in_seconds() -> None:
    others: list[dict[str, object]] = [{"phase": "warmup"}, {"leg_id": "l2"}, {"stream_label": "stress"}]
    got = requests(rows({}, *others), [L1])
    assert got.height == 1
    assert [round(value, 9) for value in got.select("latency", "ttft", "ttst", "tpot", "user_rate").row(0)] == [
        *(0.5, 0.1, 0.1, 0.1, 10.0),
    ]
    assert [round(gap, 9) for gap in got["gaps"][0]] == [0.1, 0.2]


def test_an_answer_in_one_piece_has_no_token_times_and_tokens_of_one_read_no_rate() -> None:
    whole = {"stream": False, "chunk_gaps_us": None}
    at_once = {"last_token_ns": 100_000_000, "chunk_gaps_us": [0]}
    got = requests(rows(whole, at_once), [L1])
    assert got.select("ttft", "tpot", "user_rate").rows() == [(None, None, None), (0.1, 0.0, None)]
