"""Field names and units as AIPerf's `profile_export_aiperf.json` has them (its schema 1.4), values by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from storage.records import Leg
from tasks.export.aiperf import Trial, aiperf_json

TRIAL = Trial("gw", "sweep", 10)
SCHEMA = {
    "leg_id": pl.String,
    "failure": pl.String,
    **dict.fromkeys(("sent_ns", "end_ns"), pl.Int64),
    **dict.fromkeys(("latency", "ttft", "ttst", "tpot", "user_rate"), pl.Float64),
    "gaps": pl.List(pl.Float64),
    **dict.fromkeys(("input_tokens", "output_tokens"), pl.Int64),
}


def rows(*changes: dict[str, Any]) -> pl.DataFrame:
    """Requests that take 1, 2, 3 … seconds, sent together, in one leg."""
    made = []
    for k, change in enumerate(changes, start=1):
        usual = {
            "leg_id": "l1",
            "failure": None,
            "sent_ns": 500_000_000,
            "end_ns": 500_000_000 + k * 1_000_000_000,
            "latency": float(k),
            "ttft": 0.1 * k,
            "ttst": 0.02,
            "tpot": 0.05,
            "user_rate": 20.0,
            "gaps": [0.02, 0.04],
            "input_tokens": 100,
            "output_tokens": 10 * k,
        }
        made.append({**usual, **change})
    return pl.DataFrame(made, schema=SCHEMA)


def test_a_load_has_aiperf_s_names_units_and_percentiles(found: Callable[..., Any], leg: Leg) -> None:
    got = aiperf_json(found().run, TRIAL, [leg], rows({}, {}, {}), goodput=0.9)
    assert got["schema_version"] == "1.4"
    latency = got["request_latency"]
    assert list(latency) == [
        *("unit", "avg", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"),
        *("min", "max", "std", "count", "sum"),
    ]
    assert (latency["unit"], latency["avg"], latency["p50"], latency["p75"]) == ("ms", 2000, 2000, 2500)
    assert (latency["min"], latency["max"], latency["std"], latency["count"], latency["sum"]) == (
        *(1000, 3000, 1000, 3, 6000),
    )
    units = {name: block["unit"] for name, block in got.items() if isinstance(block, dict) and "unit" in block}
    assert units == {
        "request_latency": "ms",
        "time_to_first_token": "ms",
        "time_to_second_token": "ms",
        "inter_token_latency": "ms",
        "inter_chunk_latency": "ms",
        "output_token_throughput_per_user": "tokens/sec/user",
        "output_sequence_length": "tokens",
        "input_sequence_length": "tokens",
        "request_count": "requests",
        "error_request_count": "requests",
        "request_throughput": "requests/sec",
        "output_token_throughput": "tokens/sec",
        "total_osl": "tokens",
        "total_isl": "tokens",
        "goodput": "requests/sec",
        "benchmark_duration": "sec",
    }
    assert (got["request_throughput"]["avg"], got["output_token_throughput"]["avg"]) == (1.0, 20.0)
    assert (got["inter_token_latency"]["p50"], got["inter_chunk_latency"]["count"]) == (pytest.approx(50), 6)
    json.dumps(got, allow_nan=False)


def test_failed_requests_are_counted_and_named_and_in_no_distribution(found: Callable[..., Any], leg: Leg) -> None:
    failed = {"failure": "timeout_total", "ttft": None, "gaps": None, "tpot": None}
    got = aiperf_json(found().run, TRIAL, [leg], rows({}, failed, {"failure": "reset"}, failed))
    assert (got["request_count"]["avg"], got["error_request_count"]["avg"]) == (1, 3)
    assert got["request_latency"]["count"] == 1
    assert got["error_summary"] == [
        {"error_details": {"type": "timeout_total", "message": "timeout_total"}, "count": 2},
        {"error_details": {"type": "reset", "message": "reset"}, "count": 1},
    ]


def test_what_was_not_measured_is_left_out(found: Callable[..., Any], leg: Leg) -> None:
    plain = {"ttft": None, "ttst": None, "tpot": None, "user_rate": None, "gaps": None, "output_tokens": None}
    got = aiperf_json(found().run, TRIAL, [leg], rows(plain, plain))
    gone = {"time_to_first_token", "inter_token_latency", "inter_chunk_latency", "total_osl", "goodput"}
    assert not gone & set(got)
    assert "output_token_throughput" not in got


def test_time_between_two_blocks_is_no_load(found: Callable[..., Any], leg: Leg) -> None:
    later = {"leg_id": "l2", "sent_ns": 0, "end_ns": 2_000_000_000}
    got = aiperf_json(found().run, TRIAL, [leg, replace(leg, leg_id="l2")], rows({}, later))
    assert got["benchmark_duration"]["avg"] == 3.0


def test_a_run_says_which_load_it_was_and_whether_it_is_whole(found: Callable[..., Any], leg: Leg) -> None:
    got = aiperf_json(found().run, TRIAL, [replace(leg, stopped="budget")], rows({}))
    assert (got["benchmark_id"], got["is_complete"], got["was_cancelled"]) == ("r7", False, False)
    info = got["run_info"]
    assert (info["run_label"], info["variation_values"], info["random_seed"]) == (
        *("gw-concurrency_10", {"concurrency": 10}, 7),
    )
    assert (got["start_time"], got["end_time"]) == ("2026-03-08T03:31:00+00:00", "2026-03-08T03:31:10+00:00")
    replayed = aiperf_json(found().run, Trial("gw", "replay", 0), [], rows())
    assert replayed["run_info"]["run_label"] == "gw-replay"
    assert "request_throughput" not in replayed
