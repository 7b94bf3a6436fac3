"""One socket to an origin: bytes out, stamped answers in. HTTP/1.1 over `asyncio.Protocol` and `httptools`."""

import asyncio
from time import perf_counter_ns
from typing import Protocol

import httptools

from storage.records import Failure
from tasks.load.exchange import Exchange, Origin

MAX_HEADER_BYTES = 256 * 1024


class Pool(Protocol):
    """Where a connection goes when its exchange has ended."""

    has_closed: bool

    def release(self, origin: Origin, connection: "Connection") -> None: ...
    def resend(self, exchange: Exchange) -> None: ...


class Connection(asyncio.Protocol):
    """One socket. Serves one exchange at a time; pipelining never."""

    __slots__ = (
        "_chunks",
        "_loop_transport",
        "_now",
        "_parser",
        "_pool",
        "closed",
        "exchange",
        "on_body",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop_transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None  # under way on it
        self._chunks: list[bytes] = []  # of the body, in the read at hand
        self.on_body = self._chunks.append  # a callback of the parser; not a method, for one read may hold many chunks
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0
        self.closed = False

    def send(self, exchange: Exchange) -> None:
        assert self._loop_transport is not None
        self.exchange = exchange
        exchange.connection = self
        now = perf_counter_ns()
        if not exchange.sent_ns:
            exchange.sent_ns = now
        self._loop_transport.write(exchange.payload)

    def drop(self) -> None:
        self.exchange = None
        self.closed = True
        if self._loop_transport is not None:
            self._loop_transport.abort()

    def adopt(self, transport: asyncio.Transport) -> None:
        """The transport to write to: TLS puts a new one over the old."""
        self._loop_transport = transport

    def pause(self) -> None:
        if self._loop_transport is not None and not self.closed:
            self._loop_transport.pause_reading()

    def resume(self) -> None:
        if self._loop_transport is not None and not self.closed:
            self._loop_transport.resume_reading()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop_transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._now = perf_counter_ns()
        exchange = self.exchange
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
            if self._chunks:
                self._deliver()
            self._refuse()
        if self._chunks:
            if len(self._chunks) == 1 and self.exchange is exchange and exchange.on_body is not None:
                exchange.on_body(self._chunks.pop(), self._now)  # nearly every read of a stream
            else:
                self._deliver()

    def _deliver(self) -> None:
        """Hand over what the read held of the body: all of it came at one instant."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        exchange = self.exchange
        if exchange is None:  # more than the answer had room for
            self.drop()
            return
        if exchange.on_body is not None:
            exchange.on_body(data, self._now)
        else:
            exchange.body.append(data)

    def _refuse(self) -> None:
        """What came is no answer."""
        if self.exchange is not None:
            self.exchange.finish(self._now, Failure.PROTOCOL)
        self.drop()

    def eof_received(self) -> bool:
        self.closed = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.has_closed = True
        exchange, self.exchange = self.exchange, None
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
        exchange = self.exchange
        if exchange is not None:
            exchange.headers.append((name, value))

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        if exchange is None:  # an answer nobody asked for, in the same read as the one somebody did
            self.drop()
            return
        status = self._parser.get_status_code()
        if status < 200:
            exchange.headers.clear()
            return
        if exchange.response_bytes > MAX_HEADER_BYTES and _size(exchange.headers) > MAX_HEADER_BYTES:
            self._refuse()
            return
        exchange.status = status
        exchange.headers_ns = self._now
        if exchange.on_headers is not None:
            exchange.on_headers(exchange)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.status is None:  # nothing, or a 1xx
            return
        if self._chunks:
            self._deliver()
        self.exchange = None
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
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if answered.should_keep_alive() and not self.closed:
            self._pool.release(exchange.origin, self)
        else:
            self.drop()
        exchange.finish(self._now)


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """Neither a length nor chunks: the body is all that comes until the server closes."""
    for name, value in headers:
        kind = name.lower()
        if kind == b"content-length" or (kind == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            return False
    return True


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)
