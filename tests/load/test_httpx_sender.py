"""The engine's way over any other httpx transport: the same exchanges, the same names of failures."""

import asyncio
import ssl

import httpx
import pytest

from storage.records import Failure
from tasks.load.other import HttpxSender
from tasks.load.wire import Exchange, Limits, Origin
from tests.fakes.servers import Behaviour, Talk, always, answer, chunked, says, serving, then_silent

PAYLOAD = b"POST /v1/x?a=b%20c HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nhi"
LIMITS = Limits.seconds(0.3, 0.3, 0.3, 5.0)


def sender(limits: Limits = LIMITS) -> HttpxSender:
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return HttpxSender(httpx.AsyncHTTPTransport(limits=unlimited), limits)


async def ask(to: HttpxSender, origin: Origin) -> Exchange:
    exchange = to.start(origin, PAYLOAD)
    await asyncio.wait_for(exchange.done, 10)
    to.settle(exchange)
    return exchange


async def ask_once(behave: Behaviour, limits: Limits = LIMITS) -> Exchange:
    async with serving(behave) as server:
        to = sender(limits)
        try:
            return await ask(to, Origin.of(httpx.URL(server.url)))
        finally:
            await to.aclose()


async def test_the_prepared_bytes_arrive_and_the_answer_is_filled_in():
    async with serving(always(chunked(b"one ", b"two"))) as server:
        to = sender()
        exchange = await ask(to, Origin.of(httpx.URL(server.url)))
        await to.aclose()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x?a=b%20c HTTP/1.1\r\n")
    assert sorted(head.lower().split(b"\r\n")[1:]) == [b"content-length: 2", b"host: x", b"x-one: 1"]
    assert (body, exchange.status, exchange.failure, b"".join(exchange.body)) == (b"hi", 200, None, b"one two")
    assert exchange.started_ns <= exchange.sent_ns <= exchange.headers_ns <= exchange.end_ns


async def test_one_user_needs_one_connection():
    async with serving(always(answer(b"x"))) as server:
        to = sender()
        for _ in range(5):
            await ask(to, Origin.of(httpx.URL(server.url)))
        await to.aclose()
    assert server.connections == 1


async def test_hooks_see_the_headers_and_the_body_as_they_come():
    seen: list[object] = []

    def on_headers(exchange: Exchange) -> None:
        seen.append(exchange.status)
        exchange.on_body = lambda data, _: seen.append(data)

    async with serving(always(answer(b"hello"))) as server:
        to = sender()
        exchange = to.start(Origin.of(httpx.URL(server.url)), PAYLOAD)
        exchange.on_headers = on_headers
        await asyncio.wait_for(exchange.done, 10)
        to.settle(exchange)
        await to.aclose()
    assert (seen, exchange.body) == ([200, b"hello"], [])


@pytest.mark.parametrize(
    ("behave", "failure", "status"),
    [
        (says(), Failure.CLOSED_EARLY, None),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Failure.CLOSED_EARLY, 200),
        (says(chunked(b"one", b"two")[:-5]), Failure.CLOSED_EARLY, 200),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Failure.PROTOCOL, None),
        (then_silent(), Failure.TIMEOUT_FIRST_BYTE, None),
        (then_silent(b"HTTP/1.1 200 OK\r\n\r\nhalf"), Failure.TIMEOUT_IDLE, 200),
    ],
)
async def test_a_broken_answer_has_the_name_the_wire_gives_it(behave, failure, status):
    exchange = await ask_once(behave)
    assert (exchange.failure, exchange.status) == (failure, status)


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        (Limits.seconds(5, 5, 0.2, 5), Failure.TIMEOUT_IDLE),
        (Limits.seconds(5, 0.1, 5, 0.4), Failure.TIMEOUT_TOTAL),
    ],
    ids=["shorter than the first byte's", "longer"],
)
async def test_between_bytes_its_own_timeout_counts(limits, failure):
    exchange = await ask_once(then_silent(b"HTTP/1.1 200 OK\r\n\r\nhalf"), limits)
    assert exchange.failure == failure


async def test_nobody_there_has_its_name():
    async with serving(always(answer())) as server:
        origin = Origin.of(httpx.URL(server.url))
    to = sender()
    assert (await ask(to, origin)).failure == Failure.CONNECT
    assert (await ask(to, Origin("http", "nonexistent.invalid", 80))).failure == Failure.DNS
    await to.aclose()


async def test_a_server_that_speaks_no_tls_fails_in_the_handshake():
    async def greets(talk: Talk) -> None:
        await talk.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        await talk.silence()

    async with serving(greets) as server:
        to = sender()
        exchange = await ask(to, Origin("https", "127.0.0.1", server.port))
        await to.aclose()
    assert exchange.failure == Failure.TLS


class Raising(httpx.AsyncBaseTransport):
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self.error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (caused(httpx.ConnectError("no"), OSError(24, "Too many open files")), Failure.LOCAL),
        (caused(httpx.ConnectError("no"), ssl.SSLCertVerificationError("no")), Failure.TLS),
        (httpx.ConnectError("no"), Failure.CONNECT),
        (httpx.ConnectTimeout("no"), Failure.TIMEOUT_CONNECT),
        (httpx.WriteError("no"), Failure.RESET),
        (OSError("no"), Failure.RESET),
        (ValueError("a transport of its own kind"), Failure.PROTOCOL),
    ],
)
async def test_whatever_a_transport_raises_the_attempt_ends(error, failure):
    to = HttpxSender(Raising(error), LIMITS)
    exchange = await ask(to, Origin("http", "h", 80))
    await to.aclose()
    assert exchange.failure == failure
