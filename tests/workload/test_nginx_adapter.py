"""nginx's access log. The JSON lines here have the fields of a real log, which is read whole and compared with a reader
written apart where it lies beside the checkout; the text lines are made from nginx's documented formats."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.nginx import Nginx

REAL = Path(__file__).parents[3] / "shared" / "data" / "gateway-logs" / "nginx_access.jsonl"
SALT = b"a salt of sixteen bytes"
TEXT = '203.0.113.7 - jane [24/Nov/2026:06:49:51 +0100] "POST /v1/chat/completions HTTP/1.1" 200 3873 "-" "app \\"x\\""'


def line(**changes: Any) -> bytes:
    logged = {
        "msec": 1795502991.467,
        "method": "POST",
        "uri": "/v1/chat/completions",
        "status": 200,
        "request_length": 574,
        "bytes_sent": 3873,
        "request_time": 0.233,
        "content_type": "text/event-stream",
        "request_body": json.dumps(
            {
                "model": "m",
                "stream": True,
                "max_tokens": 8,
                "user": "u-1",
                "messages": [{"role": "user", "content": "x" * 40}],
            }
        ),
    }
    return json.dumps({k: v for k, v in (logged | changes).items() if v is not None}).encode()


def read(*lines: bytes | str) -> list:
    raw = [text.encode() if isinstance(text, str) else text for text in lines]
    return list(Nginx().read(enumerate(raw, 1)))


def test_the_arrival_is_the_logged_end_less_the_request_time():
    (row,) = read(line())
    assert (row.start_ns, row.end_ns) == (1_795_502_991_234_000_000, 1_795_502_991_467_000_000)


def test_the_body_tells_model_stream_cap_and_user():
    (row,) = read(line())
    assert (row.model, row.stream, row.max_output_tokens, row.user) == ("m", True, 8, "u-1")
    assert row.messages == [{"role": "user", "content": "x" * 40}]


def test_tokens_are_guessed_from_bytes_and_said_to_be():
    (row,) = read(line())
    assert (row.input_tokens, row.approximate) == (14, True)  # 40 bytes and one message
    assert row.output_tokens == 8  # 3,623 bytes of events would be 14, over the cap


def test_a_log_without_escape_json_is_read_too():
    body = rb"{\x22model\x22:\x22m\x22,\x22messages\x22:[{\x22content\x22:\x22\xC3\xBC\x5Cn\x22}]}"
    text = b'{"msec":1795502991.467,"uri":"/v1/chat/completions","status":200,"request_time":0.233,"request_body":"%s"}'
    assert Nginx().recognises([text % body])
    (row,) = read(text % body)
    assert (row.model, row.messages, row.stream) == ("m", [{"content": "\u00fc\n"}], False)


def test_without_a_body_sizes_remain_and_the_answers_type_tells_a_stream():
    streamed, plain = read(
        line(request_body=None),
        line(request_body="-", content_type=None, sent_http_content_type="application/json; charset=utf-8"),
    )
    assert (streamed.model, streamed.stream, streamed.input_tokens) == ("unknown", True, 43)
    assert streamed.output_tokens == 14
    assert (plain.stream, plain.output_tokens) == (False, 843)


def test_a_content_type_that_may_be_the_requests_own_does_not_deny_a_stream():
    (row,) = read(line(request_body=None, content_type="application/json"))
    assert (row.stream, row.output_tokens) == (None, None)


def test_token_fields_of_the_logs_own_are_exact():
    (row,) = read(line(prompt_tokens="21", completion_tokens="5"))
    assert (row.input_tokens, row.output_tokens, row.approximate) == (21, 5, False)


@pytest.mark.parametrize("status", [499, 503, "429"])
def test_a_failed_request_is_an_arrival_without_output(status):
    (row,) = read(line(status=status))
    assert (row.failure, row.output_tokens) == (str(status), None)
    assert row.input_tokens == 14


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uri": "/v1/embeddings"}, "no chat completion"),
        ({"uri": "/health"}, "no chat completion"),
        ({"method": "OPTIONS"}, "method OPTIONS"),
    ],
)
def test_other_calls_are_dropped_by_reason_and_are_no_rejects(changes, reason):
    (dropped,) = read(line(**changes))
    assert (dropped.reason, dropped.broken) == (reason, False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (line(msec=None), "no time"),
        (line(msec="soon"), "msec is not a time"),
        (line(request_time="long"), "request_time is not a duration"),
        (line(uri=None), "no uri"),
        (b"{oops", "not JSON"),
        (b"2026/11/24 06:49:51 [error] upstream timed out", "neither JSON nor the combined format"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, line())
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.model == "m"


def test_combined_has_whole_seconds_and_its_own_time_zone():
    (row,) = read(TEXT)
    assert (row.start_ns, row.end_ns) == (1_795_499_391_000_000_000, None)
    assert (row.user, row.stream, row.output_tokens) == ("jane", None, None)


@pytest.mark.parametrize("rest", [' 0.233 "203.0.113.9"', " rt=0.233 uct=0.001 urt=0.230", ' request_time="0.233"'])
def test_combined_with_a_request_time_has_a_start(rest):
    (row,) = read(TEXT + rest)
    assert (row.start_ns, row.end_ns) == (1_795_499_390_767_000_000, 1_795_499_391_000_000_000)


def test_json_with_only_local_time_is_read_too():
    (row,) = read(line(msec=None, time_local="24/Nov/2026:06:49:51 +0000"))
    assert row.end_ns == 1_795_502_991_000_000_000


@pytest.mark.shared
@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/data/gateway-logs beside the checkout")
def test_the_real_log_is_captured_right_to_the_row():
    captured = capture([REAL], privacy="text", salt=SALT)
    assert (captured.ledger.read, captured.ledger.kept, captured.rejects) == (300, 300, ())
    assert captured.workload.header.tokens == "approximate"
    slow = []
    for text in REAL.read_text(encoding="utf-8").splitlines():
        end, took = (re.search(rf'"{name}":(\d+)\.(\d{{3}})', text) for name in ("msec", "request_time"))
        assert end and took
        start_ms = int(end[1] + end[2]) - int(took[1] + took[2])
        logged = json.loads(text)
        asked = json.loads(logged["request_body"])
        ok = logged["status"] == 200
        slow.append(
            (
                start_ms,
                asked["model"],
                asked.get("stream", False),
                asked["max_tokens"],
                None if ok else str(logged["status"]),
            )
        )
    first = min(start for start, *_ in slow)
    got = [(a.offset_ns, a.model, a.stream, a.max_output_tokens, a.failure) for a in captured.workload.arrivals()]
    assert sorted(got, key=str) == sorted([((start - first) * 1_000_000, *rest) for start, *rest in slow], key=str)
