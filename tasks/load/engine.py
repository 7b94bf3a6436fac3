"""Closed loop and open loop: the only place that waits.

Closed loop: `level` virtual users, each sending its next request when its last has ended. A user's first request is
warm-up; then `requests` are measured; users keep the target loaded until the last measured one has ended, and that
surplus is cool-down. Open loop: every request is sent at its intended start, whatever the target does.

Every attempt ends in exactly one row.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Protocol

from storage.errors import GatebenchError
from storage.records import Failure, Phase, Sample
from tasks.load.client import Asked, to_sample, watch
from tasks.load.clock import Wake
from tasks.load.limits import Stopper
from tasks.load.requests import Prepared
from tasks.load.stream import TokenStream
from tasks.load.wire import Exchange, Origin


class Sender(Protocol):
    """Sends a prepared request now and returns its exchange at once."""

    def start(self, origin: Origin, payload: bytes) -> Exchange: ...
    def settle(self, exchange: Exchange) -> None: ...


class Maker(Protocol):
    origin: Origin

    def make(self, seq: int, index: int) -> Prepared: ...


class Keeper(Protocol):
    def add(self, sample: Sample) -> None: ...


@dataclass(slots=True)
class Tally:
    """What the engine counted; the rest is in the rows."""

    t0: int
    measured: int = 0
    ok: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    lags_ns: list[int] = field(default_factory=list)
    latency_ns: int = 0  # summed over measured requests
    dropped: int = 0
    queued: int = 0  # sent late because max_in_flight was reached: the plan's doing, not ours
    first_sent_ns: int = 0
    last_sent_ns: int = 0
    last_end_ns: int = 0
    target_headers: dict[str, str] = field(default_factory=dict)


_LEAD_NS = 20_000_000  # an open loop begins this long after it was started, so that the first request is on time too
_HEADERS_KEPT = (
    "server",
    "via",
    "x-litellm-version",
    "x-powered-by",
    "x-envoy-upstream-service-time",
    "x-portkey-provider",
)


class Engine:
    """One leg's worth of sending. Everything it touches is an argument."""

    def __init__(
        self,
        sender: Sender,
        maker: Maker,
        keeper: Keeper,
        stopper: Stopper,
        *,
        label: str = "main",
        drain_ns: int = 30_000_000_000,
    ) -> None:
        self._sender = sender
        self._maker = maker
        self._keeper = keeper
        self._stopper = stopper
        self._label = label
        self._drain_ns = drain_ns
        self._in_flight: dict[Exchange, tuple[Asked, TokenStream | None]] = {}
        self._seq = 0
        self._tickets = 0  # closed loop: measured requests not yet sent
        self._unfinished = 0  # closed loop: measured requests not yet ended
        self._order: Sequence[int] = ()
        self._room: asyncio.Future[None] | None = None
        self._wake: Wake | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self.tally = Tally(perf_counter_ns())

    # --- closed loop

    async def closed_loop(self, users: int, requests: int, order: Sequence[int]) -> None:
        """`requests` measured at `users` concurrent; arrivals are drawn in `order`, again and again."""
        self._order = order
        self._tickets = self._unfinished = requests
        self.tally.t0 = perf_counter_ns()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(users):
                    group.create_task(self._user())
        except* GatebenchError as errors:
            raise errors.exceptions[0] from None
        finally:
            if self._deadline is not None:
                self._deadline.cancel()

    async def _user(self) -> None:
        phase = Phase.WARMUP
        seq, prepared = self._next()
        intended = self.tally.t0
        previous: Exchange | None = None
        while self._stopper.reason is None:
            exchange = self._send(prepared, seq, phase, intended)
            if previous is not None:
                self._ended(previous)  # after the next was sent: our bookkeeping is nobody's wait
            seq, prepared = self._next()
            await exchange.done
            previous, intended = exchange, exchange.end_ns
            self._unfinished -= phase == Phase.MEASURED
            if self._unfinished <= 0:
                break
            phase = Phase.MEASURED if self._tickets > 0 else Phase.COOLDOWN
            self._tickets -= phase == Phase.MEASURED
        if previous is not None:
            self._ended(previous)
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._drain_ns / 1e9, self.give_up, Failure.CENSORED)

    def _next(self) -> tuple[int, Prepared]:
        seq = self._seq
        self._seq += 1
        return seq, self._maker.make(seq, self._order[seq % len(self._order)])

    # --- open loop

    async def open_loop(
        self,
        starts_ns: Sequence[int],
        order: Sequence[int],
        wake: Wake,
        *,
        warmup_ns: int,
        max_in_flight: int,
        on_full: str,
    ) -> None:
        """Send request k, made from arrival order[k], at t0 + starts_ns[k].

        At `max_in_flight`: queue (latency from due tells), drop (counted) or abort.
        """
        tally = self.tally
        self._order, self._wake = order, wake
        seq, prepared = self._next()
        tally.t0 = perf_counter_ns() + _LEAD_NS
        for start in starts_ns:
            if self._stopper.reason is not None:
                break
            due = tally.t0 + start
            if not await wake.until(due):
                await asyncio.sleep(0)  # behind: answers must be read all the same
            phase = Phase.WARMUP if start < warmup_ns else Phase.MEASURED
            full = len(self._in_flight) >= max_in_flight
            if full and on_full == "queue":
                await self._until_room(max_in_flight)
                tally.queued += phase == Phase.MEASURED
            if self._stopper.reason is not None:
                break
            if full and on_full != "queue":
                tally.dropped += phase == Phase.MEASURED
                if on_full == "abort":
                    self._stopper.stop("max_in_flight", f"{max_in_flight} requests were in flight (on_full = abort)")
                    break
            else:
                exchange = self._send(prepared, seq, phase, due, late_by_plan=full)
                exchange.done.add_done_callback(partial(self._left, exchange))
            seq, prepared = self._next()  # a dropped request is gone; the next start keeps its own arrival
        await self._drain()
        if self._error is not None:
            raise self._error

    async def _until_room(self, max_in_flight: int) -> None:
        while len(self._in_flight) >= max_in_flight and self._stopper.reason is None:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _left(self, exchange: Exchange, _: "asyncio.Future[None]") -> None:
        try:
            self._ended(exchange)
        except Exception as error:  # a callback cannot raise to anybody: `open_loop` will
            self._error = error
            self._stopper.stop("error", str(error))
        self._hurry()

    async def _drain(self) -> None:
        """Wait for what is in flight; what is left at the deadline is kept as censored, at its age."""
        if self._in_flight:
            await asyncio.wait([e.done for e in self._in_flight], timeout=self._drain_ns / 1e9)
        self.give_up(Failure.CENSORED)
        await asyncio.sleep(0)  # let the callbacks of those just ended run

    # --- both

    def give_up(self, failure: Failure) -> None:
        """End everything in flight now, and wake whoever waits for room."""
        for exchange in list(self._in_flight):
            exchange.abort(failure)
        self._hurry()

    def _hurry(self) -> None:
        """An open loop that waits, for room or for its next start, looks again at whether to go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._wake is not None and self._stopper.reason is not None:
            self._wake.cut()

    def _send(self, prepared: Prepared, seq: int, phase: Phase, intended: int, late_by_plan: bool = False) -> Exchange:
        exchange = self._sender.start(self._maker.origin, prepared.payload)
        sent = exchange.started_ns
        self._stopper.sending(sent)
        asked = Asked(seq, phase, self._label, intended, prepared.model, prepared.stream)
        self._in_flight[exchange] = (asked, None)
        if prepared.stream:
            exchange.on_headers = self._headers
        if phase == Phase.MEASURED:
            tally = self.tally
            if not late_by_plan:
                tally.lags_ns.append(max(0, sent - intended))
            if not tally.first_sent_ns:
                tally.first_sent_ns = sent
            tally.last_sent_ns = sent
        return exchange

    def _headers(self, exchange: Exchange) -> None:
        asked, _ = self._in_flight[exchange]
        self._in_flight[exchange] = (asked, watch(exchange, asked.stream))

    def _ended(self, exchange: Exchange) -> None:
        entry = self._in_flight.pop(exchange, None)
        if entry is None:
            return
        asked, tokens = entry
        self._sender.settle(exchange)
        sample = to_sample(exchange, tokens, asked, self.tally.t0)
        self._stopper.ended(exchange.end_ns, sample)
        if asked.phase == Phase.MEASURED:
            self._count(exchange, sample)
        self._keeper.add(sample)

    def _count(self, exchange: Exchange, sample: Sample) -> None:
        tally = self.tally
        tally.measured += 1
        tally.latency_ns += sample.end_ns - sample.sent_ns
        tally.last_end_ns = max(tally.last_end_ns, exchange.end_ns)
        if sample.failure is None:
            tally.ok += 1
        else:
            tally.failed[sample.failure] = tally.failed.get(sample.failure, 0) + 1
        if not tally.target_headers and exchange.headers:
            for name in _HEADERS_KEPT:
                value = exchange.header(name.encode())
                if value is not None:
                    tally.target_headers[name] = value[:200]
