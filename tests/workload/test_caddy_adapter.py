"""Caddy's access log. The samples were written by Caddy 2.11 in front of a stub: an answer, a stream, a refusal; only
headers that say nothing here are left out. The durations as text are made from Caddy's documented formats."""

import json
from typing import Any

import pytest

from tasks.workload.formats.caddy import Caddy


def entry(**changes: Any) -> dict[str, Any]:
    logged = {
        "level": "info",
        "ts": 1795521356.4038312,
        "logger": "http.log.access.log0",
        "msg": "handled request",
        "request": {
            "remote_ip": "127.0.0.1",
            "proto": "HTTP/1.1",
            "method": "POST",
            "host": "127.0.0.1:18957",
            "uri": "/v1/chat/completions",
            "headers": {"Content-Type": ["application/json"], "Authorization": ["REDACTED"]},
        },
        "bytes_read": 141,
        "user_id": "",
        "duration": 0.055494673,
        "size": 332,
        "status": 200,
        "resp_headers": {"Via": ["1.1 Caddy"], "Content-Type": ["application/json"]},
    }
    return logged | changes


STREAM = entry(
    ts=1795521356.7423263,
    bytes_read=74,
    duration=0.135225348,
    size=1304,
    resp_headers={"content-type": ["text/event-stream; charset=utf-8"]},
)
REFUSED = entry(level="error", ts=1795521356.9755745, bytes_read=62, duration=0.001125651, size=26, status=503)


def read(*lines: dict[str, Any] | str) -> list:
    raw = [(line if isinstance(line, str) else json.dumps(line)).encode() for line in lines]
    return list(Caddy().read(enumerate(raw, 1)))


def test_the_arrival_is_the_logged_end_less_the_duration_to_a_microsecond():
    (row,) = read(entry())
    assert row.end_ns == 1_795_521_356_403_831_000
    assert row.start_ns == 1_795_521_356_403_831_000 - 55_494_673


def test_the_answers_type_tells_a_stream_and_tokens_are_guessed():
    plain, stream, refused = read(entry(), STREAM, REFUSED)
    assert (plain.stream, plain.output_tokens, plain.approximate) == (False, 20, True)
    assert (stream.stream, stream.output_tokens) == (True, 5)
    assert (refused.failure, refused.output_tokens, refused.input_tokens) == ("503", None, 1)


@pytest.mark.parametrize(
    ("text", "ns"), [("1.5s", 1_500_000_000), ("2m0.25s", 120_250_000_000), ("350ms", 350_000_000)]
)
def test_a_duration_may_be_written_as_go_does(text, ns):
    (row,) = read(entry(duration=text))
    assert row.end_ns - row.start_ns == ns


def test_a_stamp_may_be_iso_8601():
    (row,) = read(entry(ts="2026-11-24T11:55:56.403Z", duration=0.003))
    assert row.start_ns == 1_795_521_356_400_000_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"level": "info", "ts": 1.5, "logger": "tls.cache", "msg": "started"}, "no entry of an access log"),
        (entry(request={"method": "GET", "uri": "/health"}), "no chat completion"),
        (entry(request={"method": "OPTIONS", "uri": "/v1/chat/completions?x=1"}), "method OPTIONS"),
    ],
)
def test_what_is_no_chat_is_dropped_by_reason_and_is_no_reject(line, reason):
    (dropped,) = read(line)
    assert (dropped.reason, dropped.broken) == (reason, False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry(ts=None), "no ts"),
        (entry(duration=None), "no duration"),
        (entry(duration="5 parsecs"), "duration is not a duration"),
        (entry(request={"method": "POST"}), "no uri"),
        ("{oops", "not JSON"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, entry())
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.stream is False
