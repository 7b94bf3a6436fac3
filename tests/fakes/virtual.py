"""Time that jumps: an event loop that never waits but moves its clock to the next timer, and what an engine needs to
run on it. Nanoseconds are exact."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from storage.records import Failure, Sample
from tasks.load.exchange import Exchange, Origin
from tasks.load.requests import Prepared

BODY = b'{"model":"m","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"completion_tokens":5}}'


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("nothing will ever happen again: the loop hangs")
            self.now_ns += round(max(0.0, timeout) * 1e9)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_ns / 1e9

    def at(self, due_ns: int, call: Callable[..., object], *arguments: object) -> None:
        """Call it when the clock shows `due_ns`, to the nanosecond."""

        def now() -> None:
            self.jumping.now_ns = max(self.jumping.now_ns, due_ns)
            call(*arguments)

        self.call_at(due_ns / 1e9, now)


def now_ns() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.jumping.now_ns


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


class VirtualWake:
    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def until(self, due_ns: int) -> bool:
        if due_ns <= now_ns():
            return False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._waiter = waiter = loop.create_future()
        loop.at(due_ns, lambda: waiter.done() or waiter.set_result(None))
        await waiter
        return True

    def cut(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        return None


class _VirtualExchange(Exchange):
    __slots__ = ()

    def abort(self, failure: Failure) -> None:
        self.finish(now_ns(), failure)


class VirtualSender:
    """Answers each request after what `service_ns` says of its payload and of the number sent before; None: never."""

    def __init__(self, service_ns: Callable[[bytes, int], int | None]) -> None:
        self._service_ns = service_ns
        self.sent: list[Exchange] = []

    def start(self, origin: Origin, payload: bytes, *, on_end: Callable[[Exchange], None]) -> Exchange:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        exchange = _VirtualExchange(origin, payload, on_end)
        exchange.started_ns = exchange.sent_ns = now_ns()
        takes = self._service_ns(payload, len(self.sent))
        self.sent.append(exchange)
        if takes is not None:
            loop.at(exchange.sent_ns + takes, self._answer, exchange)
        return exchange

    def settle(self, exchange: Exchange) -> None:
        return None

    def _answer(self, exchange: Exchange) -> None:
        exchange.status = 200
        exchange.body.append(BODY)
        exchange.finish(now_ns())


class NumberMaker:
    """The payload is the request's number."""

    origin = Origin("http", "h", 80)

    def make(self, seq: int, index: int) -> Prepared:
        return Prepared(b"%d" % seq, "m", False)


class ListKeeper:
    def __init__(self) -> None:
        self.rows: list[Sample] = []

    def add(self, sample: Sample) -> None:
        self.rows.append(sample)
