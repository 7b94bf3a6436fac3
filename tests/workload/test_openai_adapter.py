"""Request logs in OpenAI's own terms. Made from the API's documented request and response, in the shapes that home-made
proxies write."""

import json
from typing import Any

import pytest

from tasks.workload.formats.adapter import Drop, Row
from tasks.workload.formats.detect import choose
from tasks.workload.formats.openai import OpenAI

START_NS = 1_795_502_991_000_000_000
ASKED = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
    "max_completion_tokens": 64,
    "user": "u-1",
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
EXPECTED = Row(
    line=1,
    call_id="r1",
    start_ns=START_NS,
    end_ns=START_NS + 500_000_000,
    first_token_ns=START_NS + 80_000_000,
    model="gpt-4o",
    input_tokens=9,
    output_tokens=12,
    max_output_tokens=64,
    stream=True,
    session="s1",
    user="u-1",
    failure=None,
    cache_hit=None,
    messages=ASKED["messages"],
)


def logged(**changes: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-11-24T06:49:51Z",
        "request_id": "r1",
        "session_id": "s1",
        "path": "/v1/chat/completions",
        "duration_ms": 500,
        "ttft_ms": 80,
        "status": 200,
        "body": ASKED,
        "response": {"id": "chatcmpl-1", "usage": USAGE},
    } | changes


def read(record: dict[str, Any]) -> Row | Drop:
    (only,) = OpenAI().read([(1, json.dumps(record).encode())])
    return only


SHAPES = {
    "as above": logged(),
    "request": {k: v for k, v in logged(request=ASKED).items() if k != "body"},
    "body inside request": {k: v for k, v in logged(request={"body": ASKED}).items() if k != "body"},
    "bodies as text": logged(body=json.dumps(ASKED), response=json.dumps({"usage": USAGE})),
    "response with a status": logged(status=None, response={"status_code": 200, "body": {"usage": USAGE}}),
    "created in seconds": {k: v for k, v in logged(created=1795502991).items() if k != "timestamp"},
    "created_at in ms": {k: v for k, v in logged(created_at=1795502991000).items() if k != "timestamp"},
    "all at the top": {k: v for k, v in logged(**ASKED, usage=USAGE).items() if k not in ("body", "response")},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_read_field_by_field_and_known_by_its_content(shape):
    assert read(SHAPES[shape]) == EXPECTED
    assert choose("auto", [json.dumps(SHAPES[shape]).encode()], "x").name == "openai"


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"status": 429}, "429"),
        ({"status": "503"}, "503"),
        ({"status": None, "response": {"error": {"code": "rate_limit", "message": "your key"}}}, "rate_limit"),
        ({"status": None, "response": {}, "error": "it broke, dear Jane"}, "error"),
    ],
)
def test_a_failure_is_kept_without_output_and_without_prose(changes, failure):
    found = read(logged(**changes))
    assert isinstance(found, Row)
    assert (found.failure, found.output_tokens) == (failure, None)


def test_the_id_of_the_answer_is_none_of_the_call():
    found = read(logged(request_id=None, id="chatcmpl-mock"))
    assert isinstance(found, Row)
    assert found.call_id is None


@pytest.mark.parametrize(
    ("record", "dropped"),
    [
        (logged(path="/v1/embeddings"), Drop(1, "a call other than chat completions", broken=False)),
        (
            logged(path=None, body={"model": "e", "input": ["a"]}),
            Drop(1, "a call other than chat completions", broken=False),
        ),
        (logged(timestamp=None), Drop(1, "no timestamp, created_at, created, time or ts", broken=True)),
        (logged(timestamp="soon"), Drop(1, "timestamp is not a time", broken=True)),
        (logged(body={"messages": []}), Drop(1, "no model", broken=True)),
        (logged(duration_ms="long"), Drop(1, "duration_ms is not a duration", broken=True)),
    ],
)
def test_what_is_no_chat_request_is_dropped_by_reason(record, dropped):
    assert read(record) == dropped
