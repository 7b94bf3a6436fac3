"""HTTP/1.1 for measuring: an httpx transport over `asyncio.Protocol` and `httptools`, stamped at the socket.

The engine calls `start`, which writes the request at once on an idle connection and returns an `Exchange` that fills
itself in from the socket's callbacks; other httpx code calls `handle_async_request`. Stock `httpx.AsyncClient` over its
own pool reports nine times the true latency at 100 concurrent requests, so it is never in the measured path.

Stamps: `sent_ns` just before the write; one stamp a read, taken before its bytes are parsed.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from time import perf_counter_ns

import httptools
import httpx

from storage.records import Failure

OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}  # not the target's doing
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


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> "Origin":
        return cls(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


class Exchange:
    """One request and its answer. `done` resolves when it ended, well or not; `failure` says how."""

    __slots__ = (
        "body",
        "connected_ns",
        "connection",
        "dns_ns",
        "done",
        "end_ns",
        "failure",
        "headers",
        "headers_ns",
        "on_body",
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
    )

    def __init__(self, origin: Origin, payload: bytes, done: "asyncio.Future[None]") -> None:
        self.origin = origin
        self.payload = payload
        self.done = done
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
        if not self.done.done():
            self.done.set_result(None)

    def abort(self, failure: Failure) -> None:
        """End it now, and the connection with it: what arrives later belongs to nobody."""
        connection = self.connection
        self.finish(perf_counter_ns(), failure)
        if connection is not None:
            connection.drop()


class _Connection(asyncio.Protocol):
    """One socket. Serves one exchange at a time; pipelining never."""

    __slots__ = ("_exchange", "_header_bytes", "_loop_transport", "_now", "_parser", "_pool", "_until_close", "closed")

    def __init__(self, pool: "WireTransport") -> None:
        self._pool = pool
        self._loop_transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0
        self._header_bytes = 0
        self._until_close = True
        self.closed = False

    def send(self, exchange: Exchange) -> None:
        assert self._loop_transport is not None
        self._exchange = exchange
        exchange.connection = self
        self._header_bytes = 0
        self._until_close = True
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
        """TLS put a new transport over the old one."""
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
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._exchange is not None:
                self._exchange.finish(self._now, Failure.PROTOCOL)
            self.drop()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        now = perf_counter_ns()
        if not exchange.read_ns and exchange.reused and not exchange.resends:
            # The server closed an idle connection just as we used it; it answered not a byte.
            exchange.resends += 1
            self._pool.resend(exchange)
        elif exc is None and exchange.headers_ns is not None and self._until_close:
            exchange.finish(now)
        else:
            exchange.finish(now, Failure.CLOSED_EARLY if exc is None else Failure.RESET)

    # --- httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise ValueError("header block too large")
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
        exchange.status = status
        exchange.headers_ns = self._now
        for name, _ in exchange.headers:
            if len(name) in (14, 17) and name.lower() in (b"content-length", b"transfer-encoding"):
                self._until_close = False
        if exchange.on_headers is not None:
            exchange.on_headers(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.on_body is not None:
            exchange.on_body(data, self._now)
        else:
            exchange.body.append(data)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange.headers_ns is None:  # nothing, or a 1xx
            return
        self._exchange = None
        if self._parser.should_keep_alive() and not self.closed:
            self._pool.release(exchange.origin, self)
        else:
            self.drop()
        exchange.finish(self._now)


class WireTransport(httpx.AsyncBaseTransport):
    """Connections to any number of origins, without a cap: concurrency is the engine's business."""

    def __init__(self, limits: Limits | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.limits = limits if limits is not None else Limits()
        self._tls = tls
        self._idle: dict[Origin, list[_Connection]] = {}
        self._active: set[Exchange] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        shortest = min(self.limits.connect_ns, self.limits.first_byte_ns, self.limits.idle_ns, self.limits.total_ns)
        self._sweep_s = min(0.1, max(0.005, shortest / 20e9))

    def start(
        self,
        origin: Origin,
        payload: bytes,
        *,
        on_headers: Callable[[Exchange], None] | None = None,
    ) -> Exchange:
        """Send `payload` (a whole HTTP/1.1 request) now, on an idle connection or a new one."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        exchange = Exchange(origin, payload, loop.create_future())
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

    def forget(self, connection: _Connection) -> None:
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)

    def settle(self, exchange: Exchange) -> None:
        """The exchange ended and was read: nothing more to watch."""
        self._active.discard(exchange)

    async def _connect(self, exchange: Exchange) -> None:
        try:
            connection = await self._open(exchange)
        except TimeoutError:
            exchange.finish(perf_counter_ns(), Failure.TIMEOUT_CONNECT)
        except (socket.gaierror, UnicodeError):  # the latter: no name of a host at all
            exchange.finish(perf_counter_ns(), Failure.DNS)
        except ssl.SSLError:
            exchange.finish(perf_counter_ns(), Failure.TLS)
        except OSError as error:
            exchange.finish(perf_counter_ns(), _connect_failure(exchange, error))
        else:
            if exchange.end_ns:  # given up while we were connecting
                connection.drop()
            elif connection.closed:
                exchange.finish(perf_counter_ns(), Failure.CLOSED_EARLY)
            else:
                connection.send(exchange)

    async def _open(self, exchange: Exchange) -> _Connection:
        loop = asyncio.get_running_loop()
        origin = exchange.origin
        async with asyncio.timeout(self.limits.connect_ns / 1e9):
            addresses = await self._resolve(exchange)
            connection = _Connection(self)
            for last, address in enumerate(addresses, start=1 - len(addresses)):
                try:
                    transport, _ = await loop.create_connection(lambda: connection, address, origin.port)
                    break
                except OSError as error:
                    if not last or error.errno in OURS:
                        raise
            exchange.connected_ns = perf_counter_ns()
            if origin.scheme == "https":
                secured = await loop.start_tls(transport, connection, self._context(), server_hostname=origin.host)
                if secured is None:
                    raise ssl.SSLError("the connection was closed during the TLS handshake")
                connection.adopt(secured)
                exchange.tls_ns = perf_counter_ns()
        return connection

    def _context(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes 20 ms, in which the loop stands still."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def _resolve(self, exchange: Exchange) -> list[str]:
        """Addresses of the host, in the resolver's order; a literal address costs no look-up."""
        origin = exchange.origin
        try:
            return [str(ip_address(origin.host))]
        except ValueError:
            found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        exchange.dns_ns = perf_counter_ns()
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _sweep(self) -> None:
        """Timeouts are checked by one coarse timer: a request is cut at its timeout or a little later, never before."""
        assert self._loop is not None
        now = perf_counter_ns()
        for exchange in [e for e in self._active if not e.end_ns]:
            kind = self._overdue(exchange, now)
            if kind is not None:
                exchange.abort(kind)
        self._active = {e for e in self._active if not e.end_ns}
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    def _overdue(self, exchange: Exchange, now: int) -> Failure | None:
        limits = self.limits
        if now - exchange.started_ns > limits.total_ns:
            return Failure.TIMEOUT_TOTAL
        if not exchange.sent_ns:
            return None  # connecting has its own limit
        if not exchange.read_ns:
            return Failure.TIMEOUT_FIRST_BYTE if now - exchange.sent_ns > limits.first_byte_ns else None
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

        exchange = self.start(Origin.of(request.url), payload, on_headers=begin)

        def ended(_: "asyncio.Future[None]") -> None:
            self.settle(exchange)
            chunks.put_nowait(None)
            if not started.done():
                started.set_result(None)

        exchange.done.add_done_callback(ended)
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


def _connect_failure(exchange: Exchange, error: OSError) -> Failure:
    if error.errno in OURS:
        return Failure.LOCAL
    shaking_hands = exchange.origin.scheme == "https" and exchange.connected_ns is not None
    return Failure.TLS if shaking_hands else Failure.CONNECT


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
