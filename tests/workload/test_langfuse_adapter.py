"""Langfuse's observations. The samples are made from the fields of its export reference (JSON lines and CSV), of its
API (camel case, `usage`), and of a trace with its observations; none is real."""

import json
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.langfuse import Langfuse

GENERATION: dict[str, Any] = {
    "id": "o-1",
    "trace_id": "t-1",
    "type": "GENERATION",
    "start_time": "2026-11-24 06:49:51.234567",
    "end_time": "2026-11-24 06:49:52.500000",
    "completion_start_time": "2026-11-24 06:49:51.334567",
    "level": "DEFAULT",
    "provided_model_name": "gpt-4o",
    "model_parameters": '{"temperature":0.7,"max_tokens":64}',
    "usage_details": {"input": 26, "output": 16, "total": 42},
    "session_id": "s-9",
    "user_id": "u-17",
    "input": '[{"role":"user","content":"hi"}]',
}


def read(*lines: dict[str, Any] | str) -> list:
    raw = [(line if isinstance(line, str) else json.dumps(line)).encode() for line in lines]
    return list(Langfuse().read(enumerate(raw, 1)))


def test_a_generation_is_read_field_by_field():
    (row,) = read(GENERATION)
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_567_000, 1_795_502_992_500_000_000)
    assert row.first_token_ns == 1_795_502_991_334_567_000
    assert (row.model, row.input_tokens, row.output_tokens, row.max_output_tokens) == ("gpt-4o", 26, 16, 64)
    assert (row.stream, row.session, row.user, row.call_id, row.failure) == (True, "s-9", "u-17", "o-1", None)
    assert row.messages == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"usage_details": {"input": 1, "input_cached_tokens": 809, "output": 29, "total": 839}}, (810, 29)),
        ({"usage_details": {"input": 810, "input_cached_tokens": 809, "output": 29, "total": 839}}, (810, 29)),
        ({"usage_details": {"input": 5, "cache_read_input_tokens": 20, "output": 4, "output_reasoning": 6}}, (25, 10)),
        ({"usage_details": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}, (7, 3)),
        ({"usageDetails": {"input": 7, "output": 3}}, (7, 3)),
        ({"usage": {"input": 7, "output": 3, "total": 10, "unit": "TOKENS"}}, (7, 3)),
        ({"usage": {"promptTokens": 7, "completionTokens": 3}}, (7, 3)),
        ({"promptTokens": 7, "completionTokens": 3, "totalTokens": 10}, (7, 3)),
        ({"usage_details": {}, "inputUsage": 7, "outputUsage": 3}, (7, 3)),
        ({"usage_details": {}}, (None, None)),
        ({"usage": {"input": 0, "output": 0}}, (None, 0)),
    ],
)
def test_usage_is_read_in_every_shape_it_has_had(usage, tokens):
    bare = {k: v for k, v in GENERATION.items() if k != "usage_details"}
    (row,) = read(bare | usage)
    assert (row.input_tokens, row.output_tokens) == tokens


def test_camel_case_is_read_like_snake_case():
    (row,) = read(
        {
            "id": "o-1",
            "traceId": "t-1",
            "type": "generation",
            "startTime": "2026-11-24T06:49:51.234Z",
            "endTime": "2026-11-24T06:49:52.500Z",
            "completionStartTime": None,
            "model": "gpt-4o",
            "modelParameters": {"maxTokens": 5, "stream": False},
            "usageDetails": {"input": 7, "output": 3},
        }
    )
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_000_000, 1_795_502_992_500_000_000)
    assert (row.model, row.stream, row.first_token_ns, row.max_output_tokens) == ("gpt-4o", False, None, 5)


def test_csv_has_objects_as_json():
    (row,) = read(
        "id,trace_id,type,start_time,end_time,completion_start_time,level,provided_model_name,usage_details,session_id,input",
        "o-1,t-1,GENERATION,2026-11-24 06:49:51.234567,2026-11-24 06:49:52.500000,,DEFAULT,gpt-4o,"
        '"{""input"":26,""output"":16}",s-9,"two',
        'lines, and a comma"',
    )
    assert (row.line, row.start_ns, row.input_tokens, row.output_tokens) == (2, 1_795_502_991_234_567_000, 26, 16)
    assert (row.session, row.stream, row.messages) == ("s-9", None, None)


def test_parquet_has_stamps_and_maps_of_its_own(tmp_path):
    at = datetime(2026, 11, 24, 6, 49, 51, 234567)  # noqa: DTZ001 - as Parquet has it, without a zone
    row = GENERATION | {"start_time": at, "end_time": None, "completion_start_time": at}
    row["usage_details"] = [{"key": "input", "value": 26}, {"key": "output", "value": 16}]
    pl.DataFrame([row]).write_parquet(tmp_path / "observations.parquet")
    captured = capture([tmp_path / "observations.parquet"])
    (arrival,) = captured.workload.arrivals()
    assert captured.workload.header.formats == ("langfuse",)
    assert captured.workload.header.started_at == "2026-11-24T06:49:51.234567+00:00"
    assert (arrival.input_tokens, arrival.output_tokens, arrival.first_token_ns) == (26, 16, 0)


def test_a_failed_generation_is_an_arrival_without_output():
    (row,) = read(GENERATION | {"level": "ERROR", "status_message": "rate limit of jane@example.org"})
    assert (row.failure, row.output_tokens, row.input_tokens) == ("ERROR", None, 26)


def test_a_trace_gives_its_session_and_user_to_the_generations_in_it():
    span = {"id": "o-0", "traceId": "t-1", "type": "SPAN", "startTime": "2026-11-24T06:49:51Z"}
    inside = {k: v for k, v in GENERATION.items() if k not in ("session_id", "user_id")}
    trace = {"id": "t-1", "timestamp": "2026-11-24T06:49:51Z", "sessionId": "s-1", "userId": "u-1"}
    assert Langfuse().recognises([json.dumps(trace | {"observations": [span, inside]}).encode()])
    dropped, row = read(trace | {"observations": [span, inside]})
    assert (dropped.reason, dropped.broken) == ("observation of type SPAN", False)
    assert (row.session, row.user, row.line) == ("s-1", "u-1", 1)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (GENERATION | {"type": "EMBEDDING"}, "observation of type EMBEDDING"),
        ({"id": "t-1", "timestamp": "2026-11-24 06:49:51.234567", "name": "chat"}, "a trace without observations"),
    ],
)
def test_what_is_no_generation_is_dropped_by_reason_and_is_no_reject(record, reason):
    (dropped,) = read(record)
    assert (dropped.reason, dropped.broken) == (reason, False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (GENERATION | {"start_time": None}, "no start_time"),
        (GENERATION | {"start_time": "soon"}, "start_time is not a time"),
        (GENERATION | {"provided_model_name": ""}, "no provided_model_name"),
        (GENERATION | {"usage_details": {"input": -1}}, "input is out of range"),
        ("{oops", "not JSON"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, GENERATION)
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.call_id == "o-1"
