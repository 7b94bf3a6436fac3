"""The wire as anybody's httpx transport: an httpx request in, an httpx response out, whose body is read as it comes.

The engine does not come this way. Whoever does waits in httpx's own code, so nothing here needs to be quick.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import httpx

from storage.records import Failure
from tasks.load.connection import Connection
from tasks.load.exchange import Exchange, Limits, Origin

_ROOM = 1024 * 1024  # bytes of a body that may wait for their reader


class Wire(Protocol):
    def start(
        self,
        origin: Origin,
        payload: bytes,
        *,
        on_headers: Callable[[Exchange], None] | None,
        on_end: Callable[[Exchange], None] | None,
    ) -> Exchange: ...
    def settle(self, exchange: Exchange) -> None: ...
    def limit(self, exchange: Exchange, limits: Limits) -> None: ...
    def hold(self, exchange: Exchange) -> None: ...
    def go_on(self, exchange: Exchange) -> None: ...


async def respond(wire: Wire, limits: Limits, request: httpx.Request) -> httpx.Response:
    """Send the request over the wire. The shorter of `limits` and the request's own timeouts holds.

    Its stamps are on `response.extensions["exchange"]`. Raises the errors of httpx.
    """
    payload = serialise(request, await request.aread())
    inbox = _Inbox(wire, request)
    exchange = wire.start(Origin.of(request.url), payload, on_headers=inbox.begin, on_end=inbox.end)
    if "timeout" in request.extensions:
        wire.limit(exchange, limits.within(request.extensions["timeout"]))
    try:
        await inbox.started
    except asyncio.CancelledError:
        exchange.abort(Failure.CANCELLED)
        raise
    if exchange.status is None:
        raise as_httpx(exchange.failure, request)
    inbox.exchange = exchange
    return httpx.Response(
        exchange.status, headers=exchange.headers, stream=inbox, extensions={"exchange": exchange}, request=request
    )


class _Inbox(httpx.AsyncByteStream):
    """The body of one answer, between the socket and its reader. A slow reader slows the server down, not us up: beyond
    `_ROOM` the socket is not read, and the time until it is read again counts towards no timeout."""

    def __init__(self, wire: Wire, request: httpx.Request) -> None:
        self._wire = wire
        self._request = request
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes in them
        self._news = asyncio.Event()
        self._held: Connection | None = None
        self.started = asyncio.get_running_loop().create_future()
        self.exchange: Exchange | None = None

    # --- from the socket

    def begin(self, exchange: Exchange) -> None:
        exchange.on_body = self._keep
        self.exchange = exchange
        self._start()
        if self._request.method == "HEAD" and exchange.connection is not None:
            exchange.connection.end_at_headers()

    def _keep(self, data: bytes, _: int) -> None:
        self._chunks.append(data)
        self._waiting += len(data)
        self._news.set()
        exchange = self.exchange
        if self._waiting > _ROOM and self._held is None and exchange is not None and exchange.connection is not None:
            self._held = exchange.connection
            self._held.pause()
            self._wire.hold(exchange)

    def end(self, exchange: Exchange) -> None:
        self._let_go()
        self._wire.settle(exchange)
        self._news.set()
        self._start()

    def _start(self) -> None:
        if not self.started.done():
            self.started.set_result(None)

    def _let_go(self) -> None:
        if self._held is not None and self.exchange is not None:
            self._held.resume()
            self._held = None
            self._wire.go_on(self.exchange)

    # --- from the reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self.exchange
        assert exchange is not None
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                if self._held is not None and not self._chunks:
                    self._let_go()
                yield chunk
            if exchange.end_ns:
                break
            self._news.clear()
            await self._news.wait()
        if exchange.failure is not None:
            raise as_httpx(exchange.failure, self._request)

    async def aclose(self) -> None:
        if self.exchange is not None and not self.exchange.end_ns:
            self.exchange.abort(Failure.CANCELLED)


def serialise(request: httpx.Request, body: bytes) -> bytes:
    """An httpx request as HTTP/1.1 bytes. Compressed answers are never asked for: inflating would be ours to time."""
    head = [f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1".encode("ascii")]
    for name, value in request.headers.raw:
        if name.lower() not in (b"accept-encoding", b"transfer-encoding", b"content-length"):
            head.append(name + b": " + value)
    if body or request.method in ("POST", "PUT", "PATCH"):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def as_httpx(failure: Failure | None, request: httpx.Request) -> httpx.TransportError:
    """The failure of an exchange in httpx's words."""
    text = f"{failure or 'failed'} ({request.url.host})"
    if failure is Failure.TIMEOUT_CONNECT:
        return httpx.ConnectTimeout(text, request=request)
    if failure in (Failure.TIMEOUT_FIRST_BYTE, Failure.TIMEOUT_IDLE, Failure.TIMEOUT_TOTAL):
        return httpx.ReadTimeout(text, request=request)
    if failure in (Failure.CONNECT, Failure.DNS, Failure.TLS, Failure.LOCAL):
        return httpx.ConnectError(text, request=request)
    if failure is Failure.PROTOCOL:
        return httpx.RemoteProtocolError(text, request=request)
    return httpx.ReadError(text, request=request)
