"""The wire as anybody's httpx transport."""

import asyncio

import httpx
import pytest

from storage.records import Failure
from tasks.load.wire import Limits, WireTransport
from tests.fakes.servers import Talk, always, answer, chunked, says, serving, then_silent

LIMITS = Limits.seconds(0.3, 0.2, 0.2, 5.0)


def client(limits: Limits | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=WireTransport(limits))


async def test_a_get_and_a_post():
    behave = always(answer(b'{"a":1}', extra=b"content-type: application/json\r\n"))
    async with serving(behave) as server, client() as http:
        got = await http.get(server.url + "/v1/models?x=y%20z", headers={"X-One": "1"})
        put = await http.post(server.url + "/v1/chat", json={"b": 2})
    assert (got.status_code, got.json(), put.json()) == (200, {"a": 1}, {"a": 1})
    assert got.headers["content-type"] == "application/json"
    first, second = server.requests
    assert first.startswith(b"GET /v1/models?x=y%20z HTTP/1.1\r\n")
    assert b"\r\nX-One: 1\r\n" in first
    assert second.startswith(b"POST /v1/chat HTTP/1.1\r\n")
    assert second.endswith(b'\r\n\r\n{"b":2}')
    assert second.count(b"ontent-") == 2  # type and length, each once
    assert server.connections == 1


async def test_a_compressed_answer_is_never_asked_for():
    async with serving(always(answer())) as server, client() as http:
        await http.get(server.url, headers={"Accept-Encoding": "gzip"})
    assert b"gzip" not in server.requests[0]


async def test_an_upload_in_pieces_is_sent_with_its_length():
    async def pieces():
        yield b"one"
        yield b"two"

    async with serving(always(answer())) as server, client() as http:
        await http.post(server.url, content=pieces())
    assert server.requests[0].endswith(b"Content-Length: 6\r\n\r\nonetwo")
    assert b"chunked" not in server.requests[0]


async def test_a_stream_is_handed_on_as_it_comes():
    going = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.hear()
        whole = chunked(b"one\n", b"two\n")
        await talk.say(whole[:-12])
        await going.wait()
        await talk.say(whole[-12:])

    async with serving(behave) as server, client() as http, http.stream("POST", server.url) as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "one"
        going.set()
        assert [line async for line in lines] == ["two"]


async def test_an_answer_to_head_ends_at_its_headers_and_the_connection_is_kept():
    async with serving(always(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")) as server, client() as http:
        seen = [await http.head(server.url) for _ in range(3)]
    assert [(r.status_code, r.content, r.headers["content-length"]) for r in seen] == [(200, b"", "99")] * 3
    assert server.connections == 1


async def test_a_body_that_follows_head_all_the_same_costs_the_connection():
    async with serving(always(answer(b"uncalled for"))) as server, client() as http:
        seen = [await http.head(server.url) for _ in range(3)]
        got = await http.get(server.url)
    assert [r.content for r in [*seen, got]] == [b"", b"", b"", b"uncalled for"]
    assert server.connections == 4


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_head_without_a_length_or_to_be_closed_ends_too(method):
    behave = always(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
    async with serving(behave) as server, client() as http:
        seen = [await http.request(method, server.url) for _ in range(2)]
    assert [r.status_code for r in seen] == [204, 204]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("limits", "behave", "error"),
    [
        (httpx.Timeout(None, read=0.1), then_silent(), httpx.ReadTimeout),
        (httpx.Timeout(None, read=0.1), then_silent(b"HTTP/1.1 200 OK\r\n\r\nhalf"), httpx.ReadTimeout),
        (httpx.Timeout(0.1), then_silent(), httpx.ReadTimeout),
    ],
)
async def test_the_timeouts_of_a_request_hold_for_it_alone(limits, behave, error):
    async with serving(behave) as hanging, serving(always(answer(b"x"))) as well, client() as http:
        with pytest.raises(error):
            await http.get(hanging.url, timeout=limits)
        assert (await http.get(well.url)).content == b"x"


async def test_without_timeouts_of_its_own_those_of_the_transport_hold():
    async with serving(then_silent()) as server, client(LIMITS) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(server.url, timeout=None)


PIECE = b"x" * 65536


async def test_a_slow_reader_slows_the_server_down_and_loses_nothing_and_is_in_no_hurry():
    """64 MB; the reader pauses for longer than the timeout between two reads."""
    said = 0

    async def behave(talk: Talk) -> None:
        nonlocal said
        await talk.hear()
        await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1024 * len(PIECE)))
        for _ in range(1024):
            await talk.say(PIECE)
            said += len(PIECE)
        await talk.silence()

    async with serving(behave) as server, client(LIMITS) as http, http.stream("GET", server.url) as response:
        pieces = response.aiter_raw()
        size = len(await anext(pieces))
        await asyncio.sleep(0.5)
        assert said < 32 * 1024 * 1024  # what the sockets hold, and a megabyte of ours
        async for piece in pieces:
            size += len(piece)
    assert size == 1024 * len(PIECE)


async def test_a_reader_that_leaves_in_the_middle_of_much_leaves_nothing_behind():
    behave = then_silent(b"HTTP/1.1 200 OK\r\n\r\n", *[PIECE] * 200)
    async with serving(behave) as server:
        wire = WireTransport(LIMITS)
        async with httpx.AsyncClient(transport=wire) as http:
            async with http.stream("GET", server.url) as response:
                await anext(response.aiter_raw())
                await asyncio.sleep(0.1)
            assert response.extensions["exchange"].failure == Failure.CANCELLED


async def test_a_connection_whose_answer_waited_for_its_reader_is_used_again():
    whole = answer(PIECE * 40)
    async with serving(always(whole)) as server, client(LIMITS) as http:
        for _ in range(3):
            async with http.stream("GET", server.url) as response:
                pieces = response.aiter_raw()
                first = await anext(pieces)
                await asyncio.sleep(0.05)
                assert len(first) + sum([len(p) async for p in pieces]) == 40 * len(PIECE)
    assert server.connections == 1


async def test_the_stamps_are_beside_the_answer():
    async with serving(always(answer(b"x"))) as server, client() as http:
        response = await http.get(server.url)
    exchange = response.extensions["exchange"]
    assert exchange.sent_ns <= exchange.headers_ns <= exchange.end_ns


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (says(), httpx.ReadError),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), httpx.ReadError),
        (says(b"hello\r\n"), httpx.RemoteProtocolError),
        (then_silent(), httpx.ReadTimeout),
        (then_silent(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), httpx.ReadTimeout),
    ],
    ids=["closed", "half a body", "no HTTP", "silent", "stalled"],
)
async def test_a_failure_becomes_the_error_of_httpx(behave, error):
    async with serving(behave) as server, client(LIMITS) as http:
        with pytest.raises(error, match=r"127\.0\.0\.1"):
            await http.get(server.url)


async def test_nobody_there_becomes_a_connect_error():
    async with serving(always(answer())) as server:
        gone = server.url
    async with client() as http:
        with pytest.raises(httpx.ConnectError, match="connect"):
            await http.get(gone)
        with pytest.raises(httpx.ConnectError, match="dns"):
            await http.get("http://nonexistent.invalid/")


async def test_a_stream_that_is_left_half_read_ends_its_connection():
    async with serving(then_silent(chunked(b"one\n", b"two\n")[:-12])) as server, client() as http:
        async with http.stream("GET", server.url) as response:
            assert await anext(response.aiter_lines()) == "one"
        exchange = response.extensions["exchange"]
        assert exchange.failure == Failure.CANCELLED
        assert exchange.connection is None


async def test_a_caller_that_gives_up_waiting_takes_its_request_along():
    hung_up = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.hear()
        await talk.reader.read()
        hung_up.set()

    async with serving(behave) as server, client() as http:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(http.get(server.url, timeout=None), 0.1)
        await asyncio.wait_for(hung_up.wait(), 5)
        assert len(server.requests) == 1
