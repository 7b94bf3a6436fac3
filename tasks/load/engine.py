"""Closed loop and open loop: the only place that waits.

Closed loop: `level` virtual users, each sending its next request when its last has ended. A user's first request is
warm-up; then `requests` are measured; users keep the target loaded until the last measured one has ended, and that
surplus is cool-down. Open loop: every request is sent at its intended start, whatever the target does.

Every attempt ends in exactly one row.

An answer's end is noted in the socket's callback and acted on a moment later, all that ended together at once: first
every next request is sent, then what ended is booked, so that neither a stamp nor a send waits for bookkeeping.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol

from storage.records import Failure, Phase, Sample
from tasks.load.agenda import Agenda
from tasks.load.client import Asked, to_sample, watch
from tasks.load.clock import Wake
from tasks.load.limits import Stopper
from tasks.load.requests import Prepared
from tasks.load.schedule import Schedule
from tasks.load.wire import Exchange, Origin


class Sender(Protocol):
    """Sends a prepared request now and returns its exchange at once."""

    def start(self, origin: Origin, payload: bytes, *, on_end: Callable[[Exchange], None]) -> Exchange: ...
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
        clock: Callable[[], int] = perf_counter_ns,
        stripe: tuple[int, int] = (0, 1),
        all_ended: Callable[[], bool] = lambda: True,
    ) -> None:
        """`stripe`, `all_ended`: in a closed loop over several workers, number of this one and how many there are; and
        whether all of them have ended their measured requests."""
        self._sender = sender
        self._maker = maker
        self._keeper = keeper
        self._stopper = stopper
        self._label = label
        self._drain_ns = drain_ns
        self._in_flight: set[Exchange] = set()
        self._ended_now: list[Exchange] = []  # ended, not yet acted on
        self._seq, self._step = stripe
        self._all_ended = all_ended
        self._ready: deque[tuple[int, Prepared]] = deque()  # closed loop: requests made before they are due
        self._users = 0  # closed loop: users that go on
        self._tickets = 0  # closed loop: measured requests not yet sent
        self._unfinished = 0  # closed loop: measured requests not yet ended
        self._over: asyncio.Future[None] | None = None  # closed loop: resolves when the last user has left
        self._order: Sequence[int] = ()
        self._room: asyncio.Future[None] | None = None
        self._wake: Wake | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None  # the budget's wall time
        self._agenda: Agenda | None = None  # open loop, while it sends
        self._before_turns: dict[Exchange, int] = {}  # in flight, and another turn waits for its end
        self._error: Exception | None = None
        self._clock = clock
        self.tally = Tally(clock())

    # --- closed loop

    async def closed_loop(self, users: int, requests: int, order: Sequence[int], t0_ns: int | None = None) -> None:
        """`requests` measured at `users` concurrent; arrivals are drawn in `order`, again and again. `t0_ns`: the
        instant, just past, that the workers agreed to begin at; None: now."""
        loop = asyncio.get_running_loop()
        self._order = order
        self._tickets = self._unfinished = requests
        self._over = loop.create_future()
        self._ready.extend(self._next() for _ in range(users))
        self.tally.t0 = self._clock() if t0_ns is None else t0_ns
        self._watch_time(loop)
        try:
            for _ in range(users):
                if self._stopper.reason is None:
                    self._users += 1
                    self._send_ready(Phase.WARMUP, self.tally.t0)
            self._ready.extend(self._next() for _ in range(self._users))
            if self._users:
                await self._over
        finally:
            self._end_timers()
        if self._error is not None:
            raise self._error

    def _go_on(self, exchange: Exchange) -> None:
        """The user whose request this was sends the next one, or leaves."""
        self._unfinished -= exchange.asked.phase == Phase.MEASURED
        if self._stopper.reason is None and (self._unfinished > 0 or not self._all_ended()):
            phase = Phase.MEASURED if self._tickets > 0 else Phase.COOLDOWN
            self._tickets -= phase == Phase.MEASURED
            self._send_ready(phase, exchange.end_ns)
            return
        self._users -= 1
        self._begin_drain()

    def _begin_drain(self) -> None:
        """From now on what is in flight has `drain_ns` to end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._drain_ns / 1e9, self.give_up, Failure.CENSORED)

    def _send_ready(self, phase: Phase, intended: int) -> None:
        seq, prepared = self._ready.popleft()
        self._send(prepared, seq, phase, intended)

    def _next(self) -> tuple[int, Prepared]:
        seq = self._seq
        self._seq += self._step
        return seq, self._maker.make(seq, self._order[seq % len(self._order)])

    # --- open loop

    async def open_loop(
        self, schedule: Schedule, wake: Wake, *, max_in_flight: int, on_full: str, t0_ns: int | None = None
    ) -> None:
        """Send each request of the schedule when it is due, counted from `t0_ns` (None: from in a moment).

        At `max_in_flight`: queue (latency from due tells), drop (counted) or abort.
        """
        tally = self.tally
        agenda = self._agenda = Agenda(schedule)
        self._wake = wake
        tally.t0 = self._clock() + _LEAD_NS if t0_ns is None else t0_ns
        self._watch_time(asyncio.get_running_loop())
        made = -1
        while self._stopper.reason is None:
            head = agenda.head()
            if head is None:
                if not await self._until_turn(agenda):
                    break
                continue
            due, position = head
            if position != made:
                prepared = self._maker.make(schedule.seq[position], schedule.arrival[position])
                made = position
            if not await wake.until(tally.t0 + due):
                await asyncio.sleep(0)  # behind: answers must be read all the same
            if self._stopper.reason is None and agenda.head() == head:
                agenda.pop()
                full = len(self._in_flight) >= max_in_flight
                if not full or await self._room_for_one(schedule, position, max_in_flight, on_full):
                    self._start(schedule, position, prepared, tally.t0 + due, late_by_plan=full)
        await self._drain()
        if self._error is not None:
            raise self._error

    def _start(self, schedule: Schedule, position: int, prepared: Prepared, intended: int, late_by_plan: bool) -> None:
        labels = schedule.labels
        exchange = self._send(
            prepared,
            schedule.seq[position],
            Phase.WARMUP if schedule.warmup[position] else Phase.MEASURED,
            intended,
            late_by_plan=late_by_plan,
            label=None if labels is None else labels[schedule.arrival[position]],
        )
        if position in schedule.turns:
            self._before_turns[exchange] = position

    async def _room_for_one(self, schedule: Schedule, position: int, max_in_flight: int, on_full: str) -> bool:
        """What the plan says where max_in_flight is reached; whether the request is to be sent all the same."""
        measured = not schedule.warmup[position]
        if on_full == "queue":
            await self._until_room(max_in_flight)
            self.tally.queued += measured
            return self._stopper.reason is None
        self.tally.dropped += measured
        if on_full == "abort":
            self._stopper.stop("max_in_flight", f"{max_in_flight} requests were in flight (on_full = abort)")
        elif self._agenda is not None:
            self._agenda.ended(position, self._clock() - self.tally.t0)
        return False

    def _bring_turns(self, ended: Sequence[Exchange]) -> None:
        """The turns after those that have ended are due after their think time."""
        for exchange in ended:
            position = self._before_turns.pop(exchange, None)
            if position is None or self._agenda is None:
                continue
            if self._agenda.ended(position, exchange.end_ns - self.tally.t0) and self._wake is not None:
                self._wake.cut()

    async def _until_turn(self, agenda: Agenda) -> bool:
        """Wait for something in flight that a turn waits for; whether there is a turn. The timeouts of a request say
        how long that may take: the time of a drain begins when nothing is left to send."""
        while agenda.waiting and agenda.head() is None and self._stopper.reason is None:
            await self._something_ended()
        return agenda.head() is not None

    async def _until_room(self, max_in_flight: int) -> None:
        while len(self._in_flight) >= max_in_flight and self._stopper.reason is None:
            await self._something_ended()

    async def _something_ended(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    async def _drain(self) -> None:
        """Wait for what is in flight; what is left at the deadline is kept as censored, at its age."""
        self._agenda = None
        self._end_timers()
        if self._in_flight:
            await asyncio.wait([e.done for e in self._in_flight], timeout=self._drain_ns / 1e9)
        self.give_up(Failure.CENSORED)
        await asyncio.sleep(0)  # let the callbacks of those just ended run

    # --- both

    def _watch_time(self, loop: asyncio.AbstractEventLoop) -> None:
        """A target that hangs must not outlast the wall time of the budget."""
        deadline = self._stopper.deadline_ns
        if deadline is None or self._stopper.reason is not None:
            return
        now = self._clock()
        if now < deadline:
            self._timer = loop.call_later((deadline - now) / 1e9, self._watch_time, loop)
            return
        self._stopper.tick(now)
        if self._agenda is None:
            self._begin_drain()
        self._hurry()

    def _end_timers(self) -> None:
        for timer in (self._deadline, self._timer):
            if timer is not None:
                timer.cancel()

    def give_up(self, failure: Failure) -> None:
        """End everything in flight now, and wake whoever waits for room."""
        for exchange in list(self._in_flight):
            exchange.abort(failure)
        self._hurry()

    def _note(self, exchange: Exchange) -> None:
        """An exchange has ended; we are in the socket's callback."""
        if not self._ended_now:
            asyncio.get_running_loop().call_soon(self._act)
        self._ended_now.append(exchange)

    def _act(self) -> None:
        ended, self._ended_now = self._ended_now, []
        try:
            if self._over is not None:
                for exchange in ended:
                    self._go_on(exchange)
            for exchange in ended:
                self._ended(exchange)
            if self._before_turns:
                self._bring_turns(ended)
            if self._over is not None:
                while len(self._ready) < self._users:
                    self._ready.append(self._next())
        except Exception as error:  # a callback cannot raise to anybody: the loops will
            self._error = error
            self._stopper.stop("error", str(error))
        if self._over is not None and not self._over.done() and (not self._users or self._error is not None):
            self._over.set_result(None)
        self._hurry()

    def _hurry(self) -> None:
        """An open loop that waits, for room or for its next start, looks again at whether to go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._wake is not None and self._stopper.reason is not None:
            self._wake.cut()

    def _send(
        self,
        prepared: Prepared,
        seq: int,
        phase: Phase,
        intended: int,
        *,
        late_by_plan: bool = False,
        label: str | None = None,
    ) -> Exchange:
        exchange = self._sender.start(self._maker.origin, prepared.payload, on_end=self._note)
        sent = exchange.started_ns
        self._stopper.sending(sent)
        stream_label = self._label if label is None else label
        exchange.asked = Asked(seq, phase, stream_label, intended, prepared.model, prepared.stream)
        self._in_flight.add(exchange)
        if prepared.stream:
            exchange.on_headers = _watch
        if phase == Phase.MEASURED:
            tally = self.tally
            if not late_by_plan:
                tally.lags_ns.append(max(0, sent - intended))
            if not tally.first_sent_ns:
                tally.first_sent_ns = sent
            tally.last_sent_ns = sent
        return exchange

    def _ended(self, exchange: Exchange) -> None:
        asked, tokens = exchange.asked, exchange.tokens
        self._in_flight.remove(exchange)
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


def _watch(exchange: Exchange) -> None:
    exchange.tokens = watch(exchange, exchange.asked.stream)
