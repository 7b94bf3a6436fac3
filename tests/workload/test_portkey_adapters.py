"""Portkey's export, whose samples are made from its documented columns, and its log stream, whose samples have the
fields of a real one; that is read whole and compared with a reader written apart where it lies beside the checkout."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.portkey import Portkey
from tasks.workload.formats.portkey_stream import PortkeyStream

REAL = Path(__file__).parents[3] / "shared" / "data" / "gateway-logs" / "portkey_log_stream.sse"
SALT = b"a salt of sixteen bytes"
EXPORTED: dict[str, Any] = {
    "id": "pk-1",
    "trace_id": "t-1",
    "created_at": "2026-11-24T06:49:51.234Z",
    "ai_org": "openai",
    "ai_model": "gpt-4o",
    "req_units": 26,
    "res_units": 16,
    "total_units": 42,
    "request_url": "https://api.openai.com/v1/chat/completions",
    "request_method": "POST",
    "response_status_code": 200,
    "response_time": 850,
    "is_success": 1,
    "stream_mode": "TRUE",
    "cache_status": "MISS",
    "request": {"body": {"model": "gpt-4o", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}},
    "metadata": {"_user": "u-17", "env": "prod"},
}
LOGGED: dict[str, Any] = {
    "time": "11/24/2026, 6:48:31 AM",
    "method": "POST",
    "status": 200,
    "duration": 140,
    "requestOptions": [
        {
            "providerOptions": {"provider": "openai", "apiKey": "sk-x", "rubeusURL": "chatComplete"},
            "finalUntransformedRequest": {
                "body": {
                    "model": "m",
                    "messages": [{"role": "user", "content": "x" * 40}],
                    "max_tokens": 3,
                    "user": "u-1",
                }
            },
            "createdAt": "2026-11-24T06:48:31.774Z",
            "cacheStatus": "DISABLED",
            "executionTime": 136,
            "transformedRequest": {"body": {}, "headers": {"authorization": "Bearer sk-x"}},
            "response": {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
        }
    ],
}


def exported(*records: dict[str, Any] | str) -> list:
    raw = [(record if isinstance(record, str) else json.dumps(record)).encode() for record in records]
    return list(Portkey().read(enumerate(raw, 1)))


def event(data: dict[str, Any] | str, kind: str = "log") -> list[bytes]:
    return [
        f"event: {kind}".encode(),
        f"data: {data if isinstance(data, str) else json.dumps(data)}".encode(),
        b"id: 0",
        b"",
    ]


def streamed(*events: list[bytes]) -> list:
    return list(PortkeyStream().read(enumerate((line for one in events for line in one), 1)))


def attempt(**changes: Any) -> dict[str, Any]:
    return LOGGED["requestOptions"][0] | changes


def test_an_exported_request_is_read_field_by_field():
    (row,) = exported(EXPORTED)
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_000_000, 1_795_502_992_084_000_000)
    assert (row.model, row.input_tokens, row.output_tokens, row.max_output_tokens) == ("gpt-4o", 26, 16, 64)
    assert (row.stream, row.session, row.user, row.call_id) == (True, "t-1", "u-17", "pk-1")
    assert (row.failure, row.cache_hit, row.approximate) == (None, False, False)


def test_an_export_with_few_columns_is_enough():
    (row,) = exported({k: EXPORTED[k] for k in ("created_at", "ai_model", "req_units", "res_units")})
    assert (row.start_ns, row.stream, row.end_ns, row.session) == (1_795_502_991_234_000_000, None, None, None)


def test_metadata_may_come_as_keys_and_values():
    bare = {k: v for k, v in EXPORTED.items() if k != "metadata"}
    (row,) = exported(bare | {"metadata.key": ["_user", "session_id"], "metadata.value": ["u-2", "s-2"]})
    assert (row.user, row.session) == ("u-2", "s-2")


@pytest.mark.parametrize(
    ("changes", "failure"),
    [({"response_status_code": 429}, "429"), ({"response_status_code": None, "is_success": 0}, "failure")],
)
def test_a_failed_request_is_an_arrival_without_output(changes, failure):
    (row,) = exported(EXPORTED | changes)
    assert (row.failure, row.output_tokens, row.input_tokens) == (failure, None, 26)


def test_an_exported_call_that_is_no_chat_is_dropped_by_reason():
    (dropped,) = exported(EXPORTED | {"request_url": "https://api.openai.com/v1/embeddings"})
    assert (dropped.reason, dropped.broken) == ("no chat completion", False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (EXPORTED | {"created_at": None}, "no created_at"),
        (EXPORTED | {"ai_model": None, "request": None}, "no ai_model"),
        (EXPORTED | {"response_time": "long"}, "response_time is not a duration"),
        ("{oops", "not JSON"),
    ],
)
def test_a_broken_exported_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = exported(broken, EXPORTED)
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.call_id == "pk-1"


def test_a_logged_request_starts_when_its_first_attempt_was_created():
    (row,) = streamed(event(LOGGED))
    assert (row.start_ns, row.end_ns) == (1_795_502_911_774_000_000, 1_795_502_911_910_000_000)
    assert (row.model, row.input_tokens, row.output_tokens, row.approximate) == ("m", 3, 2, False)
    assert (row.stream, row.max_output_tokens, row.user, row.line) == (False, 3, "u-1", 2)


def test_of_a_stream_neither_end_nor_usage_is_told():
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x" * 40}]}
    asked = attempt(finalUntransformedRequest={"body": body}, response={"message": "The response was a stream."})
    (row,) = streamed(event(LOGGED | {"requestOptions": [asked]}))
    assert (row.stream, row.end_ns, row.output_tokens) == (True, None, None)
    assert (row.input_tokens, row.approximate) == (14, True)


def test_of_several_attempts_the_first_is_what_was_asked_and_the_last_how_it_went():
    first = attempt(response={})
    second = attempt(
        createdAt="2026-11-24T06:48:32.000Z", executionTime=50, finalUntransformedRequest={"body": {"model": "other"}}
    )
    (row,) = streamed(event(LOGGED | {"requestOptions": [first, second]}))
    assert (row.start_ns, row.end_ns) == (1_795_502_911_774_000_000, 1_795_502_912_050_000_000)
    assert (row.model, row.output_tokens) == ("m", 2)


def test_every_event_is_a_record_and_only_log_events_are_requests():
    connected, pulse, row, other = streamed(
        event("1795502911277", "connected"),
        event("pulse", "heartbeat"),
        event(LOGGED | {"status": 503}),
        event(LOGGED | {"requestOptions": [attempt(providerOptions={"rubeusURL": "embed"})]}),
    )
    assert [connected.reason, pulse.reason, other.reason] == [
        "event connected",
        "event heartbeat",
        "call of type embed",
    ]
    assert not connected.broken and not pulse.broken and not other.broken
    assert (row.failure, row.output_tokens) == ("503", None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"time": "cut', "not JSON"),
        ({"status": 200}, "no requestOptions"),
        (LOGGED | {"requestOptions": [attempt(createdAt="soon")]}, "createdAt is not a time"),
    ],
)
def test_a_broken_event_is_dropped_with_its_line_and_stops_nothing(data, reason):
    dropped, kept = streamed(event(data), event(LOGGED))
    assert (dropped.line, dropped.reason, dropped.broken) == (2, reason, True)
    assert (kept.model, kept.line) == ("m", 6)


@pytest.mark.shared
@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/data/gateway-logs beside the checkout")
def test_the_real_stream_is_captured_right_to_the_row_and_nothing_of_its_keys():
    captured = capture([REAL], privacy="structure", salt=SALT)
    assert dict(captured.ledger.dropped) == {"event connected": 1, "event heartbeat": 12, "not JSON": 1}
    assert (captured.ledger.read, captured.ledger.kept) == (213, 199)
    slow: Counter[tuple[object, ...]] = Counter()
    for text in REAL.read_text(encoding="utf-8").split("\n\n"):
        try:
            logged = json.loads(text.split("data: ", 1)[1].split("\nid:")[0])["requestOptions"][0]
        except (ValueError, IndexError, TypeError):
            continue
        start = datetime.fromisoformat(logged["createdAt"].replace("Z", "+00:00"))
        usage = logged["response"].get("usage", {})
        asked = logged["requestParams"]
        put = usage.get("prompt_tokens", "guessed")
        slow[round(start.timestamp() * 1000), asked["model"], put, usage.get("completion_tokens")] += 1
    first = min(start for start, *_ in slow)
    got = Counter(
        (
            a.offset_ns // 10**6 + first,
            a.model,
            "guessed" if a.output_tokens is None else a.input_tokens,
            a.output_tokens,
        )
        for a in captured.workload.arrivals()
    )
    assert got == slow
    assert captured.workload.header.tokens == "approximate"
