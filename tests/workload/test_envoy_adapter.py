"""Envoy's access log. The samples were written by Envoy 1.40 in front of a stub: an answer, a stream, a refusal, a
stream cut by a timeout, a health check. Istio's line is made from its documented format."""

import json
from typing import Any

import pytest

from tasks.workload.formats.envoy import Envoy

TEXT = (
    '[2026-11-24T11:55:38.775Z] "POST /v1/chat/completions HTTP/1.1" 200 - 141 332 52 52 "-" "-" '
    '"7b1d32ad-82ad-4ae4-a1fc-fde33e4554e5" "127.0.0.1:18956" "127.0.0.1:18955"',
    '[2026-11-24T11:55:39.493Z] "POST /v1/chat/completions HTTP/1.1" 503 - 62 26 0 0 "-" "-" '
    '"3b2bc8c2-517a-4198-9605-9172688f83ae" "127.0.0.1:18956" "127.0.0.1:18955"',
    '[2026-11-24T11:55:39.770Z] "POST /v1/chat/completions HTTP/1.1" 200 UT 76 652 15002 50 "-" "-" '
    '"e0f90235-86fb-45ae-b923-d309af74fb34" "127.0.0.1:18956" "127.0.0.1:18955"',
    '[2026-11-24T11:55:56.095Z] "GET /health HTTP/1.1" 200 - 0 2 4 4 "-" "Python-urllib/3.11" '
    '"1c669c2c-1507-4d3a-b928-5c970a7e55ea" "127.0.0.1:18956" "127.0.0.1:18955"',
)
ISTIO = (
    '[2026-11-24T11:55:38.775Z] "POST /v1/chat/completions HTTP/1.1" 200 - via_upstream - "-" 141 332 52 51 "-" '
    '"curl/8.4.0" "844fd1f1" "llm:8000" "10.4.0.8:8000" outbound|8000||llm 10.4.0.7:1 10.5.0.5:8000 - default'
)
JSON = {
    "bytes_received": 74,
    "bytes_sent": 1304,
    "content_type": "text/event-stream",
    "duration": 139,
    "method": "POST",
    "path": "/v1/chat/completions",
    "protocol": "HTTP/1.1",
    "request_id": "3e00b5f6-464f-46b6-acce-f9740ee39585",
    "response_code": 200,
    "response_flags": "-",
    "start_time": "2026-11-24T11:55:39.082Z",
    "upstream_service_time": "51",
    "user_agent": None,
}


def read(*lines: str | dict[str, Any]) -> list:
    raw = [(line if isinstance(line, str) else json.dumps(line)).encode() for line in lines]
    return list(Envoy().read(enumerate(raw, 1)))


def test_the_arrival_is_the_logged_start():
    answered, _, _, _ = read(*TEXT)
    assert (answered.start_ns, answered.end_ns) == (1_795_521_338_775_000_000, 1_795_521_338_827_000_000)


def test_a_refusal_and_a_cut_answer_are_arrivals_without_output_and_a_health_check_is_none():
    _, refused, cut, health = read(*TEXT)
    assert (refused.failure, refused.output_tokens) == ("503", None)
    assert (cut.failure, cut.output_tokens) == ("UT", None)
    assert (health.reason, health.broken) == ("no chat completion", False)


def test_text_tells_no_stream_so_the_output_is_unknown_and_the_input_guessed():
    row = read(TEXT[2])[0]
    assert (row.stream, row.model, row.input_tokens, row.approximate) == (None, "unknown", 1, True)


def test_json_with_the_answers_type_tells_a_stream():
    (row,) = read(JSON)
    assert (row.stream, row.output_tokens, row.approximate) == (True, 5, True)
    assert (row.start_ns, row.end_ns) == (1_795_521_339_082_000_000, 1_795_521_339_221_000_000)


def test_json_with_token_fields_is_exact():
    (row,) = read(JSON | {"gen_ai.request.model": "m", "input_tokens": 9, "output_tokens": "8"})
    assert (row.model, row.input_tokens, row.output_tokens, row.approximate) == ("m", 9, 8, False)


def test_istios_text_has_three_facts_more():
    (row,) = read(ISTIO)
    assert (row.end_ns - row.start_ns, row.failure) == (52_000_000, None)


def test_a_client_that_left_before_an_answer_is_known_by_its_flag():
    (row,) = read(JSON | {"response_code": 0, "response_flags": "DC"})
    assert row.failure == "DC"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("[warning] upstream reset", "neither JSON nor the default format"),
        ("{oops", "not JSON"),
        (JSON | {"start_time": None}, "no start_time"),
        (JSON | {"start_time": "soon"}, "start_time is not a time"),
        (JSON | {"path": None}, "no path"),
        (JSON | {"duration": "long"}, "duration is not a duration"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, JSON)
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.stream is True
