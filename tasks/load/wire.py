"""HTTP/1.1 for measuring: a pool of connections that is an httpx transport, stamped at the socket.

The engine calls `start`, which writes the request at once on an idle connection and returns an `Exchange` that fills
itself in from the socket's callbacks; other httpx code calls `handle_async_request`. Stock `httpx.AsyncClient` over its
own pool reports nine times the true latency at 100 concurrent requests, so it is never in the measured path.

Stamps: `sent_ns` just before the write; one stamp a read, taken before its bytes are parsed.
"""

import asyncio
import ssl
from collections.abc import Callable
from time import perf_counter_ns

import httpx

from storage.records import Failure
from tasks.load.connection import MAX_HEADER_BYTES, Connection
from tasks.load.dial import Dialer, Resolve, failure_of, look_up
from tasks.load.exchange import Exchange, Limits, Origin
from tasks.load.httpx_side import respond

__all__ = ["Exchange", "Limits", "Origin", "WireTransport"]

MAX_BODY_BYTES = 256 * 1024 * 1024  # of an answer that is kept until its end


class WireTransport(httpx.AsyncBaseTransport):
    """Connections to any number of origins, without a cap: concurrency is the engine's business."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = look_up,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.limits = limits if limits is not None else Limits()
        self._most_bytes = most_bytes
        self._dialer = Dialer(resolve, tls)
        self._own_limits: dict[Exchange, Limits] = {}  # of those requests that have some
        self._held: set[Exchange] = set()  # no timeout counts while their reader takes its time
        self._idle: dict[Origin, list[Connection]] = {}  # the same
        self.has_closed = False
        self._open: set[Connection] = set()  # some may have been closed since
        self._connecting: dict[Exchange, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._shortest_ns = min(self.limits.first_byte_ns, self.limits.idle_ns, self.limits.total_ns)
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
        self._connecting[exchange] = task
        task.add_done_callback(lambda _: self._connecting.pop(exchange, None))

    def release(self, origin: Origin, connection: Connection) -> None:
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = []
        idle.append(connection)

    def settle(self, exchange: Exchange) -> None:
        """The exchange ended and was read."""
        if self._own_limits:
            self._own_limits.pop(exchange, None)

    def _limits_of(self, exchange: Exchange) -> Limits:
        return self._own_limits.get(exchange, self.limits)

    async def _connect(self, exchange: Exchange) -> None:
        try:
            await self._connect_and_send(exchange)
        except Exception:  # a mistake of ours, which the loop says aloud: the attempt ends in a row all the same
            exchange.finish(perf_counter_ns(), Failure.CONNECT)
            raise

    async def _connect_and_send(self, exchange: Exchange) -> None:
        connection = Connection(self)
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
        self._open.add(connection)
        if exchange.end_ns:  # given up while we were connecting
            connection.drop()
        elif connection.closed:
            exchange.finish(perf_counter_ns(), Failure.CLOSED_EARLY)
        else:
            connection.send(exchange)

    def _under_way(self) -> list[Exchange]:
        there = (connection.exchange for connection in self._open)
        return [*self._connecting, *(exchange for exchange in there if exchange is not None)]

    def _sweep(self) -> None:
        """Timeouts are checked by one coarse timer: a request is cut at its timeout or a little later, never before.

        Ten thousand under way are looked at in about a millisecond: those that are younger than every limit, and whose
        headers cannot be endless, cost one comparison.
        """
        assert self._loop is not None
        now = perf_counter_ns()
        old = now if self._own_limits else now - self._shortest_ns
        for exchange in self._under_way():
            if exchange.started_ns < old or exchange.response_bytes > MAX_HEADER_BYTES:
                kind = self._overdue(exchange, now)
                if kind is not None:
                    exchange.abort(kind)
        if self.has_closed:
            self.has_closed = False
            self._open = {connection for connection in self._open if not connection.closed}
            for idle in self._idle.values():
                idle[:] = [connection for connection in idle if not connection.closed]
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    def _overdue(self, exchange: Exchange, now: int) -> Failure | None:
        """Why the exchange must end now, if it must."""
        if exchange.end_ns or exchange in self._held:
            return None
        limits = self._limits_of(exchange)
        if now - exchange.started_ns > limits.total_ns:
            return Failure.TIMEOUT_TOTAL
        if not exchange.sent_ns:
            return None  # connecting has its own limit
        if not exchange.read_ns:
            return Failure.TIMEOUT_FIRST_BYTE if now - exchange.sent_ns > limits.first_byte_ns else None
        if exchange.response_bytes > MAX_HEADER_BYTES and self._is_endless(exchange):
            return Failure.PROTOCOL
        return Failure.TIMEOUT_IDLE if now - exchange.read_ns > limits.idle_ns else None

    def _is_endless(self, exchange: Exchange) -> bool:
        """Headers, or a body that is kept until its end."""
        return exchange.headers_ns is None or (exchange.on_body is None and exchange.response_bytes > self._most_bytes)

    # --- httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request of anybody's httpx code. Its stamps are on `response.extensions["exchange"]`."""
        return await respond(self, self.limits, request)

    def limit(self, exchange: Exchange, limits: Limits) -> None:
        """Hold this one to limits of its own."""
        self._own_limits[exchange] = limits
        self._sweep_s = min(self._sweep_s, _sweep_s(limits))

    def hold(self, exchange: Exchange) -> None:
        """Its reader needs time: until it goes on, no timeout counts."""
        self._held.add(exchange)

    def go_on(self, exchange: Exchange) -> None:
        self._held.discard(exchange)
        exchange.read_ns = perf_counter_ns()

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._loop = None
        for exchange in self._under_way():
            exchange.abort(Failure.CANCELLED)
        for connection in self._open:
            connection.drop()
        self._open.clear()
        self._idle.clear()
        tasks = list(self._connecting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sweep_s(limits: Limits) -> float:
    """A twentieth of the shortest limit, from 5 to 100 ms."""
    shortest = min(limits.connect_ns, limits.first_byte_ns, limits.idle_ns, limits.total_ns)
    return min(0.1, max(0.005, shortest / 20e9))
