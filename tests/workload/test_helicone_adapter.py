"""Helicone's export. The samples are made from the fields of its API of requests (`HeliconeRequest`) and of its export
tool, whose CSV has columns of its own and writes JSON with quotes doubled twice."""

import json
from typing import Any

import pytest

from tasks.workload.formats.helicone import Helicone

ANSWERED: dict[str, Any] = {
    "response_id": "b6f1",
    "response_created_at": "2026-11-24T06:49:52.500Z",
    "response_status": 200,
    "response_model": "gpt-4o-mini-2024-07-18",
    "request_id": "a001",
    "request_created_at": "2026-11-24T06:49:51.234Z",
    "request_path": "https://api.openai.com/v1/chat/completions",
    "request_user_id": "u-17",
    "request_properties": {"Helicone-Session-Id": "s-9", "env": "prod"},
    "request_model": "gpt-4o-mini",
    "provider": "OPENAI",
    "delay_ms": 1250,
    "time_to_first_token": 180,
    "prompt_tokens": 26,
    "completion_tokens": 16,
    "cache_reference_id": "00000000-0000-0000-0000-000000000000",
    "request_body": {"model": "gpt-4o-mini", "stream": True, "max_tokens": 64, "messages": [{"role": "user"}]},
}
COLUMNS = (
    "response_id,response_created_at,response_status,request_created_at,request_body,request_properties,"
    "request_user_id,model,prompt_tokens,completion_tokens,latency,cost_usd"
)


def read(*lines: dict[str, Any] | str) -> list:
    raw = [(line if isinstance(line, str) else json.dumps(line)).encode() for line in lines]
    return list(Helicone().read(enumerate(raw, 1)))


def test_an_answer_is_read_field_by_field():
    (row,) = read(ANSWERED)
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_000_000, 1_795_502_992_484_000_000)
    assert row.first_token_ns == 1_795_502_991_414_000_000
    assert (row.model, row.input_tokens, row.output_tokens, row.max_output_tokens) == ("gpt-4o-mini", 26, 16, 64)
    assert (row.stream, row.session, row.user, row.call_id) == (True, "s-9", "u-17", "a001")
    assert (row.failure, row.cache_hit) == (None, False)


def test_without_a_body_only_a_first_token_tells_a_stream():
    streamed, unknown = read(
        ANSWERED | {"request_body": None}, ANSWERED | {"request_body": None, "time_to_first_token": None}
    )
    assert (streamed.stream, unknown.stream) == (True, None)


def test_without_a_duration_the_answer_ends_when_its_response_was_created():
    (row,) = read(ANSWERED | {"delay_ms": None})
    assert row.end_ns == 1_795_502_992_500_000_000


def test_an_answer_from_the_cache_refers_to_another():
    (row,) = read(ANSWERED | {"cache_reference_id": "7c0e2f9e-0000-4000-8000-0000000000aa"})
    assert row.cache_hit is True


@pytest.mark.parametrize(("status", "failure"), [(429, "429"), (500, "500"), (-3, "cancelled"), ("-4", "timeout")])
def test_a_failed_request_is_an_arrival_without_output(status, failure):
    (row,) = read(ANSWERED | {"response_status": status, "prompt_tokens": 0, "completion_tokens": 0})
    assert (row.failure, row.input_tokens, row.output_tokens) == (failure, None, None)


@pytest.mark.parametrize("path", ["https://api.openai.com/v1/embeddings", "/v1/images/generations"])
def test_other_calls_are_dropped_by_reason_and_are_no_rejects(path):
    (dropped,) = read(ANSWERED | {"request_path": path})
    assert (dropped.reason, dropped.broken) == ("no chat completion", False)


def test_csv_has_columns_of_its_own_and_json_with_quotes_doubled_twice():
    (row,) = read(
        COLUMNS,
        '"b6f1","2026-11-24T06:49:52.500Z","200","2026-11-24T06:49:51.234Z",'
        '"{""""model"""":""""gpt-4o"""",""""max_tokens"""":64}","{""""Helicone-Session-Id"""":""""s-9""""}",'
        '"u-17","gpt-4o","26","16","1250","0.01"',
    )
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_000_000, 1_795_502_992_484_000_000)
    assert (row.model, row.input_tokens, row.output_tokens, row.session) == ("gpt-4o", 26, 16, "s-9")
    assert (row.stream, row.max_output_tokens) == (False, 64)


def test_a_json_export_over_many_lines_is_read_whole():
    lines = json.dumps([ANSWERED, ANSWERED | {"request_id": "a002"}], indent=2).splitlines()
    assert Helicone().recognises([line.encode() for line in lines])
    assert [row.call_id for row in read(*lines)] == ["a001", "a002"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (ANSWERED | {"request_created_at": None}, "no request_created_at"),
        (ANSWERED | {"request_created_at": "soon"}, "request_created_at is not a time"),
        ({k: v for k, v in ANSWERED.items() if "model" not in k and "body" not in k}, "no model"),
        (ANSWERED | {"prompt_tokens": "many"}, "prompt_tokens is not a whole number"),
        ("{oops", "not JSON"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, ANSWERED)
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.call_id == "a001"
