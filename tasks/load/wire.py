"""HTTP/1.1 for measuring: an httpx transport over `asyncio.Protocol` and `httptools`, stamped at the socket.

The engine calls `start`, which writes the request at once on an idle connection and returns an `Exchange` that fills
itself in from the socket's callbacks; other httpx code calls `handle_async_request`. Stock `httpx.AsyncClient` over its
own pool reports nine times the true latency at 100 concurrent requests, so it is never in the measured path.

Stamps: `sent_ns` just before the write; one stamp a read, taken before its bytes are parsed.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import httptools
import httpx

from storage.records import Failure
from tasks.load.dial import Dialer, Resolve, failure_of, look_up

_MAX_HEADER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts of one request in nanoseconds."""

    connect_ns: int = 10_000_000_000
    first_byte_ns: int = 120_000_000_000
    idle_ns: int = 60_000_000_000
    total_ns: int = 600_000_000_000

    @classmethod
    def seconds(cls, connect: float, first_byte: float, idle: float, total: float) -> "Limits":
        return cls(*(int(value * 1e9) for value in (connect, first_byte, idle, total)))

    def within(self, timeout: Mapping[str, float | None]) -> "Limits":
        """These, or the shorter ones of an httpx request (`extensions["timeout"]`, seconds, None: no limit)."""
        connect, read = timeout.get("connect"), timeout.get("read")
        connect_ns = self.connect_ns if connect is None else min(self.connect_ns, int(connect * 1e9))
        read_ns = self.first_byte_ns if read is None else int(read * 1e9)
        return Limits(connect_ns, min(self.first_byte_ns, read_ns), min(self.idle_ns, read_ns), self.total_ns)


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> "Origin":
        return cls(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


class Exchange:
    """One request and its answer. When it has ended, well or not, `on_end` is called and `done` resolves; `failure`
    says how. `on_end` runs inside the socket's callback, where other answers wait to be stamped: it must be quick."""

    __slots__ = (
        "asked",
        "body",
        "connected_ns",
        "connection",
        "dns_ns",
        "done_future",
        "end_ns",
        "failure",
        "headers",
        "headers_ns",
        "on_body",
        "on_end",
        "on_headers",
        "origin",
        "payload",
        "read_ns",
        "resends",
        "response_bytes",
        "reused",
        "sent_ns",
        "started_ns",
        "status",
        "tls_ns",
        "tokens",
    )

    def __init__(self, origin: Origin, payload: bytes, on_end: "Callable[[Exchange], None] | None" = None) -> None:
        self.origin = origin
        self.payload = payload
        self.on_end = on_end
        self.done_future: asyncio.Future[None] | None = None
        self.started_ns = perf_counter_ns()
        self.sent_ns = 0  # 0: nothing was sent
        self.read_ns = 0  # 0: nothing was read
        self.end_ns = 0
        self.dns_ns: int | None = None
        self.connected_ns: int | None = None
        self.tls_ns: int | None = None
        self.headers_ns: int | None = None
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.on_headers: Callable[[Exchange], None] | None = None
        self.on_body: Callable[[bytes, int], None] | None = None
        self.response_bytes = 0
        self.failure: Failure | None = None
        self.reused = False
        self.resends = 0
        self.connection: _Connection | None = None
        self.asked: Any = None  # the sender's own: what it asked, and who reads the stream
        self.tokens: Any = None

    @property
    def done(self) -> "asyncio.Future[None]":
        """Resolves when the exchange has ended; made when first asked for."""
        if self.done_future is None:
            self.done_future = asyncio.get_running_loop().create_future()
            if self.end_ns:
                self.done_future.set_result(None)
        return self.done_future

    def header(self, name: bytes) -> str | None:
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("latin-1")
        return None

    def finish(self, end_ns: int, failure: Failure | None = None) -> None:
        if self.end_ns:
            return
        self.end_ns = end_ns
        self.failure = failure
        self.connection = None
        if self.on_end is not None:
            self.on_end(self)
        if self.done_future is not None and not self.done_future.done():
            self.done_future.set_result(None)

    def abort(self, failure: Failure) -> None:
        """End it now, and the connection with it: what arrives later belongs to nobody."""
        connection = self.connection
        self.finish(perf_counter_ns(), failure)
        if connection is not None:
            connection.drop()


class _Connection(asyncio.Protocol):
    """One socket. Serves one exchange at a time; pipelining never."""

    __slots__ = (
        "_chunks",
        "_exchange",
        "_loop_transport",
        "_now",
        "_parser",
        "_pool",
        "closed",
        "on_body",
    )

    def __init__(self, pool: "WireTransport") -> None:
        self._pool = pool
        self._loop_transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._chunks: list[bytes] = []  # of the body, in the read at hand
        self.on_body = self._chunks.append  # a callback of the parser; not a method, for one read may hold many chunks
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0
        self.closed = False

    def send(self, exchange: Exchange) -> None:
        assert self._loop_transport is not None
        self._exchange = exchange
        exchange.connection = self
        now = perf_counter_ns()
        if not exchange.sent_ns:
            exchange.sent_ns = now
        self._loop_transport.write(exchange.payload)

    def drop(self) -> None:
        self._exchange = None
        self.closed = True
        if self._loop_transport is not None:
            self._loop_transport.abort()

    def adopt(self, transport: asyncio.Transport) -> None:
        """The transport to write to: TLS puts a new one over the old."""
        self._loop_transport = transport

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop_transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._now = perf_counter_ns()
        exchange = self._exchange
        if exchange is None:  # nobody asked: this connection cannot be trusted
            self.drop()
            return
        exchange.read_ns = self._now
        exchange.response_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:  # a mistake of ours: the loop says it aloud
            self._refuse()
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._deliver()
            self._refuse()
        if self._chunks:
            self._deliver()

    def _deliver(self) -> None:
        """Hand over what the read held of the body: all of it came at one instant."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        exchange = self._exchange
        if exchange is None:  # more than the answer had room for
            self.drop()
            return
        if exchange.on_body is not None:
            exchange.on_body(data, self._now)
        else:
            exchange.body.append(data)

    def _refuse(self) -> None:
        """What came is no answer."""
        if self._exchange is not None:
            self._exchange.finish(self._now, Failure.PROTOCOL)
        self.drop()

    def eof_received(self) -> bool:
        self.closed = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.has_closed = True
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        now = perf_counter_ns()
        if not exchange.read_ns and exchange.reused and not exchange.resends:
            # The server closed an idle connection just as we used it; it answered not a byte.
            exchange.resends += 1
            self._pool.resend(exchange)
        elif exc is None and exchange.headers_ns is not None and _ends_with_connection(exchange.headers):
            exchange.finish(now)
        else:
            exchange.finish(now, Failure.CLOSED_EARLY if exc is None else Failure.RESET)

    # --- httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.headers.append((name, value))

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        if exchange is None:  # an answer nobody asked for, in the same read as the one somebody did
            self.drop()
            return
        status = self._parser.get_status_code()
        if status < 200:
            exchange.headers.clear()
            return
        if exchange.response_bytes > _MAX_HEADER_BYTES and _size(exchange.headers) > _MAX_HEADER_BYTES:
            self._refuse()
            return
        exchange.status = status
        exchange.headers_ns = self._now
        if exchange.on_headers is not None:
            exchange.on_headers(exchange)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange.headers_ns is None:  # nothing, or a 1xx
            return
        if self._chunks:
            self._deliver()
        self._exchange = None
        if not self._parser.should_keep_alive() or self.closed or (exchange.status >= 300 and self._is_writing()):
            self.drop()
        else:
            self._pool.release(exchange.origin, self)
        exchange.finish(self._now)

    def _is_writing(self) -> bool:
        """A refusal may come before the whole request was sent; the rest of it must not delay the next one."""
        return self._loop_transport is not None and self._loop_transport.get_write_buffer_size() > 0

    def end_at_headers(self) -> None:
        """An answer to HEAD: whatever length its headers tell, no body follows. For `Exchange.on_headers`."""
        answered, self._parser = self._parser, httptools.HttpResponseParser(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if answered.should_keep_alive() and not self.closed:
            self._pool.release(exchange.origin, self)
        else:
            self.drop()
        exchange.finish(self._now)


class WireTransport(httpx.AsyncBaseTransport):
    """Connections to any number of origins, without a cap: concurrency is the engine's business."""

    def __init__(
        self, limits: Limits | None = None, *, tls: ssl.SSLContext | None = None, resolve: Resolve = look_up
    ) -> None:
        self.limits = limits if limits is not None else Limits()
        self._dialer = Dialer(resolve, tls)
        self._own_limits: dict[Exchange, Limits] = {}  # of those requests that have some
        self._idle: dict[Origin, list[_Connection]] = {}  # some may have been closed since
        self.has_closed = False
        self._active: set[Exchange] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_s = _sweep_s(self.limits)

    def start(
        self,
        origin: Origin,
        payload: bytes,
        *,
        on_headers: Callable[[Exchange], None] | None = None,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> Exchange:
        """Send `payload` (a whole HTTP/1.1 request) now, on an idle connection or a new one."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        exchange = Exchange(origin, payload, on_end)
        exchange.on_headers = on_headers
        self._active.add(exchange)
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not connection.closed:
                exchange.reused = True
                connection.send(exchange)
                return exchange
        self.resend(exchange)
        return exchange

    def resend(self, exchange: Exchange) -> None:
        """Send on a fresh connection."""
        exchange.reused = False
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def release(self, origin: Origin, connection: _Connection) -> None:
        self._idle.setdefault(origin, []).append(connection)

    def settle(self, exchange: Exchange) -> None:
        """The exchange ended and was read: nothing more to watch."""
        self._active.discard(exchange)

    def _limits_of(self, exchange: Exchange) -> Limits:
        return self._own_limits.get(exchange, self.limits)

    async def _connect(self, exchange: Exchange) -> None:
        connection = _Connection(self)
        origin = exchange.origin
        try:
            transport = await self._dialer.open(
                exchange, connection, (origin.scheme, origin.host, origin.port), self._limits_of(exchange).connect_ns
            )
        except (OSError, ValueError, OverflowError) as error:
            shaking_hands = origin.scheme == "https" and exchange.connected_ns is not None
            exchange.finish(perf_counter_ns(), failure_of(error, shaking_hands=shaking_hands))
            return
        connection.adopt(transport)
        if exchange.end_ns:  # given up while we were connecting
            connection.drop()
        elif connection.closed:
            exchange.finish(perf_counter_ns(), Failure.CLOSED_EARLY)
        else:
            connection.send(exchange)

    def _sweep(self) -> None:
        """Timeouts are checked by one coarse timer: a request is cut at its timeout or a little later, never before."""
        assert self._loop is not None
        now = perf_counter_ns()
        for exchange in [e for e in self._active if not e.end_ns]:
            kind = self._overdue(exchange, now)
            if kind is not None:
                exchange.abort(kind)
        self._active = {e for e in self._active if not e.end_ns}
        if self.has_closed:
            self.has_closed = False
            for idle in self._idle.values():
                idle[:] = [connection for connection in idle if not connection.closed]
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    def _overdue(self, exchange: Exchange, now: int) -> Failure | None:
        """Why the exchange must end now, if it must."""
        limits = self._limits_of(exchange)
        if now - exchange.started_ns > limits.total_ns:
            return Failure.TIMEOUT_TOTAL
        if not exchange.sent_ns:
            return None  # connecting has its own limit
        if not exchange.read_ns:
            return Failure.TIMEOUT_FIRST_BYTE if now - exchange.sent_ns > limits.first_byte_ns else None
        if exchange.headers_ns is None and exchange.response_bytes > _MAX_HEADER_BYTES:
            return Failure.PROTOCOL  # headers without an end
        return Failure.TIMEOUT_IDLE if now - exchange.read_ns > limits.idle_ns else None

    # --- httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request of anybody's httpx code. Its stamps are on `response.extensions["exchange"]`."""
        payload = serialise(request, await request.aread())
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

        def begin(exchange: Exchange) -> None:
            exchange.on_body = lambda data, _: chunks.put_nowait(data)
            if not started.done():
                started.set_result(None)

        def ended(exchange: Exchange) -> None:
            self.settle(exchange)
            self._own_limits.pop(exchange, None)
            chunks.put_nowait(None)
            if not started.done():
                started.set_result(None)

        exchange = self.start(Origin.of(request.url), payload, on_headers=begin, on_end=ended)
        if "timeout" in request.extensions:
            self._own_limits[exchange] = limits = self.limits.within(request.extensions["timeout"])
            self._sweep_s = min(self._sweep_s, _sweep_s(limits))
        try:
            await started
        except asyncio.CancelledError:
            exchange.abort(Failure.CANCELLED)
            raise
        if exchange.status is None:
            raise _as_httpx(exchange.failure, request)
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Body(exchange, chunks, request),
            extensions={"exchange": exchange},
        )

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._loop = None
        for task in list(self._connecting):
            task.cancel()
        for exchange in list(self._active):
            exchange.abort(Failure.CANCELLED)
        self._active.clear()
        for idle in self._idle.values():
            for connection in list(idle):
                connection.drop()
        self._idle.clear()


class _Body(httpx.AsyncByteStream):
    def __init__(self, exchange: Exchange, chunks: "asyncio.Queue[bytes | None]", request: httpx.Request) -> None:
        self._exchange = exchange
        self._chunks = chunks
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        if self._exchange.failure is not None:
            raise _as_httpx(self._exchange.failure, self._request)

    async def aclose(self) -> None:
        if not self._exchange.end_ns:
            self._exchange.abort(Failure.CANCELLED)


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """Neither a length nor chunks: the body is all that comes until the server closes."""
    for name, value in headers:
        kind = name.lower()
        if kind == b"content-length" or (kind == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            return False
    return True


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def serialise(request: httpx.Request, body: bytes) -> bytes:
    """An httpx request as HTTP/1.1 bytes. Compressed answers are never asked for: inflating would be ours to time."""
    head = [f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1".encode("ascii")]
    for name, value in request.headers.raw:
        if name.lower() not in (b"accept-encoding", b"transfer-encoding", b"content-length"):
            head.append(name + b": " + value)
    if body or request.method in ("POST", "PUT", "PATCH"):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _as_httpx(failure: Failure | None, request: httpx.Request) -> httpx.TransportError:
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


def _sweep_s(limits: Limits) -> float:
    """A twentieth of the shortest limit, from 5 to 100 ms."""
    shortest = min(limits.connect_ns, limits.first_byte_ns, limits.idle_ns, limits.total_ns)
    return min(0.1, max(0.005, shortest / 20e9))
