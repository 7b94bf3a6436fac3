"""One exchange -> one row: what counts as ok, and the name of everything that does not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from storage.records import Failure, Sample
from tasks.load.client import Asked, to_sample, watch
from tasks.load.wire import Exchange, Origin

T0 = 1_000
ROLE = b'data: {"model":"served","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
TOKEN = b'data: {"model":"served","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
STOP = b'data: {"model":"served","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"model":"served","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"the upstream broke off","code":500}}\n\n'
REASONING = b'data: {"model":"served","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
TOOL = b'data: {"model":"served","choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}\n\n'
SSE = (b"content-type", b"text/event-stream; charset=utf-8")
JSON = (b"Content-Type", b"application/json")


@pytest.fixture
async def row_of() -> Callable[..., Sample]:
    """A row made of a status, headers, the body in reads (one a millisecond), and how the connection ended."""

    def make(
        *reads: bytes,
        stream: bool = True,
        status: int | None = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (SSE,),
        failure: Failure | None = None,
    ) -> Sample:
        exchange = Exchange(Origin("http", "h", 80), b"payload")
        exchange.started_ns, exchange.sent_ns = T0 + 500, T0 + 600
        exchange.status, exchange.headers = status, list(headers)
        tokens = None
        if status is not None:
            exchange.headers_ns = T0 + 700
            tokens = watch(exchange, stream)
        for k, data in enumerate(reads, start=1):
            exchange.response_bytes += len(data)
            if exchange.on_body is not None:
                exchange.on_body(data, T0 + k * 1_000_000)
            else:
                exchange.body.append(data)
        exchange.finish(T0 + 9_000_000, failure)
        return to_sample(exchange, tokens, Asked(4, "measured", "main", T0 + 400, "asked", stream), T0)

    return make


def plain(**message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return json.dumps(
        {"model": "served", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    ).encode()


async def test_a_whole_stream_is_ok_and_its_instants_count_from_the_start_of_the_leg(row_of):
    row = row_of(ROLE, TOKEN, TOKEN + TOKEN, STOP + USAGE + DONE)
    assert row == Sample(
        seq=4,
        phase="measured",
        stream_label="main",
        intended_ns=400,
        sent_ns=600,
        dns_ns=None,
        connected_ns=None,
        tls_ns=None,
        headers_ns=700,
        first_token_ns=2_000_000,
        first_answer_ns=2_000_000,
        last_token_ns=3_000_000,
        end_ns=9_000_000,
        chunk_gaps_us=[1000, 0],
        stream=True,
        input_tokens=7,
        output_tokens=3,
        request_bytes=7,
        response_bytes=len(ROLE + TOKEN * 3 + STOP + USAGE + DONE),
        status=200,
        failure=None,
        finish_reason="stop",
        model_asked="asked",
        model_served="served",
        cache_hit=None,
        fallbacks=None,
        attempts=None,
        retry_after_s=None,
        request_id=None,
        connection_reused=False,
        resends=0,
    )


@pytest.mark.parametrize(
    ("reads", "failure"),
    [
        ((ROLE, TOKEN, STOP, DONE), None),
        ((ROLE, TOKEN, STOP), None),  # a finish reason will do
        ((ROLE, TOKEN, DONE), None),  # so will [DONE]
        ((ROLE, REASONING, STOP, DONE), None),
        ((ROLE, TOOL, STOP, DONE), None),
        ((ROLE, TOKEN), Failure.TRUNCATED),  # Portkey, when the upstream hangs up
        ((ROLE, TOKEN, TOKEN[:40]), Failure.TRUNCATED),
        ((ROLE, TOKEN, ERROR), Failure.STREAM_ERROR),  # LiteLLM, when the upstream hangs up
        ((ERROR,), Failure.STREAM_ERROR),
        ((ROLE, TOKEN, ERROR, STOP, DONE), Failure.STREAM_ERROR),
        ((ROLE, STOP, DONE), Failure.EMPTY),  # LiteLLM, when the upstream says junk
        ((ROLE, DONE), Failure.EMPTY),
        ((ROLE,), Failure.EMPTY),
        ((), Failure.EMPTY),
        ((b"<html>junk</html>",), Failure.EMPTY),  # Portkey and plain proxies then hand the junk on
        ((ROLE, TOKEN, b"data: {junk\n\n", STOP, DONE), Failure.BAD_JSON),
    ],
)
async def test_a_stream_with_status_200_is_ok_or_has_a_name(row_of, reads, failure):
    row = row_of(*reads)
    assert (row.status, row.failure) == (200, failure)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (plain(content="x"), None),
        (plain(content=None, tool_calls=[{"id": "t"}]), None),
        (plain(content="", reasoning_content="hm"), None),
        (plain(content=None, reasoning="hm"), None),
        (plain(content=None, refusal="no"), None),
        (plain(content=""), Failure.EMPTY),
        (plain(content=None), Failure.EMPTY),
        (b'{"model":"m","choices":[]}', Failure.EMPTY),
        (b'{"model":"m"}', Failure.EMPTY),
        (b'{"choices":[7]}', Failure.EMPTY),
        (b'{"choices":7}', Failure.EMPTY),
        (b"", Failure.EMPTY),
        (b"  \n", Failure.EMPTY),
        (plain(content="x")[:-9], Failure.BAD_JSON),
        (b"<html></html>", Failure.BAD_JSON),
        (b"[1]", Failure.BAD_JSON),
        (b'{"error":{"message":"no"}}', Failure.STREAM_ERROR),
    ],
)
async def test_a_plain_answer_with_status_200_is_ok_or_has_a_name(row_of, body, failure):
    assert row_of(body, stream=False, headers=(JSON,)).failure == failure


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (201, None),
        (301, Failure.HTTP_3XX),
        (307, Failure.HTTP_3XX),
        (400, Failure.HTTP_4XX),
        (401, Failure.HTTP_4XX),
        (408, Failure.HTTP_4XX),  # LiteLLM, when the upstream never answers
        (429, Failure.RATE_LIMITED),
        (499, Failure.HTTP_4XX),
        (500, Failure.HTTP_5XX),
        (504, Failure.HTTP_5XX),
        (529, Failure.HTTP_5XX),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_status_decides_before_the_body(row_of, status, failure, stream):
    row = row_of(plain(content="x"), stream=stream, status=status, headers=(JSON,))
    assert (row.status, row.failure) == (status, failure)


async def test_a_stream_asked_for_and_answered_in_one_piece_is_read_as_one_piece(row_of):
    row = row_of(plain(content="x"), headers=(JSON,))
    assert (row.failure, row.output_tokens, row.stream) == (None, 3, True)
    assert (row.first_token_ns, row.last_token_ns, row.chunk_gaps_us) == (row.end_ns, row.end_ns, None)


async def test_a_plain_answer_has_its_only_token_at_its_end(row_of):
    row = row_of(plain(content="x"), stream=False, headers=(JSON,))
    assert (row.first_token_ns, row.first_answer_ns, row.last_token_ns) == (row.end_ns,) * 3
    assert (row.model_served, row.finish_reason, row.input_tokens) == ("served", "stop", 7)


async def test_a_failure_has_no_token_where_there_was_none(row_of):
    row = row_of(plain(content=""), stream=False, headers=(JSON,))
    assert (row.first_token_ns, row.last_token_ns) == (None, None)


@pytest.mark.parametrize("failure", [f for f in Failure if f is not Failure.LOCAL])
@pytest.mark.parametrize("stream", [True, False])
async def test_how_the_connection_ended_is_kept_and_so_is_what_came_before(row_of, failure, stream):
    row = row_of(ROLE + TOKEN, stream=stream, failure=failure)
    assert (row.failure, row.status, row.response_bytes) == (failure, 200, len(ROLE + TOKEN))
    assert row.first_token_ns == (1_000_000 if stream else None)


async def test_the_gateways_own_error_frame_says_more_than_the_broken_connection_after_it(row_of):
    assert row_of(ROLE, TOKEN, ERROR, failure=Failure.CLOSED_EARLY).failure == Failure.STREAM_ERROR


async def test_nothing_came_at_all(row_of):
    row = row_of(status=None, headers=(), failure=Failure.CONNECT)
    assert (row.failure, row.status, row.headers_ns, row.sent_ns) == (Failure.CONNECT, None, None, 600)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "2"}, {"retry_after_s": 2.0}),
        ({"llm_provider-retry-after": "0.5"}, {"retry_after_s": 0.5}),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}),
        ({"X-LiteLLM-Attempted-Fallbacks": "1", "x-litellm-attempted-retries": "3"}, {"fallbacks": 1, "attempts": 3}),
        ({"x-portkey-retry-attempt-count": "2"}, {"attempts": 2}),
        ({"x-portkey-cache-status": "HIT"}, {"cache_hit": True}),
        ({"x-litellm-cache-hit": "False"}, {"cache_hit": False}),
        ({"x-litellm-cache-key": "9f1c"}, {"cache_hit": True}),
        ({"x-litellm-cache-key": ""}, {}),
        ({"x-portkey-cache-status": "SEMANTIC HIT"}, {"cache_hit": True}),
        ({"cf-aig-cache-status": "MISS"}, {"cache_hit": False}),
        ({"x-request-id": "abc"}, {"request_id": "abc"}),
        ({"x-litellm-call-id": "y" * 300}, {"request_id": "y" * 200}),
        ({"Retry-After": "inf"}, {}),
        ({"Retry-After": "nan"}, {}),
        ({"Retry-After": "1e300"}, {}),
        ({"Retry-After": "-1"}, {}),
        ({"x-litellm-attempted-fallbacks": "inf"}, {}),
        ({"x-litellm-attempted-fallbacks": "99999999999"}, {}),
        ({"x-litellm-attempted-retries": "many"}, {}),
    ],
)
async def test_the_gateways_own_words_are_kept_where_they_make_sense(row_of, headers, expected):
    row = row_of(status=429, headers=tuple((k.encode(), v.encode()) for k, v in headers.items()))
    words = ("cache_hit", "fallbacks", "attempts", "retry_after_s", "request_id")
    assert {name: getattr(row, name) for name in words if getattr(row, name) is not None} == expected


@pytest.mark.parametrize("count", [-1, 2**63, 1.5, "7", True, None])
async def test_a_count_that_is_none_is_not_taken_for_one(row_of, count):
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": count}}).encode()
    row = row_of(body, stream=False, headers=(JSON,))
    assert (row.failure, row.output_tokens, row.input_tokens) == (None, None, None)


@pytest.mark.parametrize("stream", [True, False])
async def test_how_much_of_the_prompt_the_provider_had_cached_is_kept(row_of, stream):
    usage = {"prompt_tokens": 70, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
    if stream:
        row = row_of(
            ROLE, TOKEN, STOP, b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n", DONE
        )
    else:
        body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode()
        row = row_of(body, stream=False, headers=(JSON,))
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (70, 64, 3)
