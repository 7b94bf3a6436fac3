"""One request and its answer, as the socket's callbacks fill it in, and the limits it is held to."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from storage.records import Failure

if TYPE_CHECKING:
    from tasks.load.connection import Connection


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


class Origin(NamedTuple):
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
        self.connection: Connection | None = None
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
