"""Closed loop and open loop: the only place that waits.

Closed loop: `level` virtual users, each sending its next request when its last has ended. A user's first request is
warm-up; then `requests` are measured; users keep the target loaded until the last measured one has ended, and that
surplus is cool-down. Open loop: every request is sent at its intended start, whatever the target does; only a turn of
a session waits for the turn before it.

Every attempt ends in exactly one row.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter_ns

from storage.records import STRESS, Failure, Phase
from tasks.load.agenda import Agenda
from tasks.load.beside import Beside
from tasks.load.clock import Wake
from tasks.load.exchange import Exchange
from tasks.load.flight import Flight, Keeper, Maker, Sender, Tally
from tasks.load.limits import Stopper
from tasks.load.requests import Prepared
from tasks.load.schedule import Schedule
from tasks.load.stress import Users

_LEAD_NS = 20_000_000  # an open loop begins this long after it was started, so that the first request is on time too


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
        self._flight = Flight(sender, maker, keeper, stopper, label=label, clock=clock)
        self._drain_ns = drain_ns
        self._stripe = stripe
        self._all_ended = all_ended

    @property
    def tally(self) -> Tally:
        return self._flight.tally

    async def closed_loop(self, users: int, requests: int, order: Sequence[int], t0_ns: int | None = None) -> None:
        """`requests` measured at `users` concurrent; arrivals are drawn in `order`, again and again. `t0_ns`: the
        instant, just past, that the workers agreed to begin at; None: now."""
        loop = _ClosedLoop(self._flight, self._drain_ns, order, self._stripe, self._all_ended)
        await loop.run(users, requests, t0_ns)

    async def open_loop(
        self,
        schedule: Schedule,
        wake: Wake,
        *,
        max_in_flight: int,
        on_full: str,
        t0_ns: int | None = None,
        stress: Users | None = None,
    ) -> None:
        """Send each request of the schedule when it is due, counted from `t0_ns` (None: from in a moment), and between
        two instants what the users of a `stress` send beside it.

        At `max_in_flight`: queue (latency from due tells), drop (counted) or abort.
        """
        loop = _OpenLoop(self._flight, self._drain_ns, schedule, wake, max_in_flight, on_full)
        if stress is not None:
            loop.beside = Beside(self._flight, stress)
        await loop.run(t0_ns)

    def give_up(self, failure: Failure) -> None:
        """End everything in flight now."""
        self._flight.give_up(failure)


class _ClosedLoop:
    def __init__(
        self,
        flight: Flight,
        drain_ns: int,
        order: Sequence[int],
        stripe: tuple[int, int],
        all_ended: Callable[[], bool],
    ) -> None:
        self._flight = flight
        self._drain_ns = drain_ns
        self._order = order
        self._seq, self._step = stripe
        self._all_ended = all_ended
        self._ready: deque[tuple[int, Prepared]] = deque()  # requests made before they are due
        self._users = 0  # those that go on
        self._tickets = 0  # measured requests not yet sent
        self._unfinished = 0  # measured requests not yet ended
        self._over = asyncio.get_running_loop().create_future()  # resolves when the last user has left
        self._deadline: asyncio.TimerHandle | None = None
        flight.loop = self

    async def run(self, users: int, requests: int, t0_ns: int | None) -> None:
        flight = self._flight
        self._tickets = self._unfinished = requests
        self._ready.extend(self._next() for _ in range(users))
        flight.tally.t0 = flight.clock() if t0_ns is None else t0_ns
        flight.watch_time()
        try:
            for _ in range(users):
                if flight.stopper.reason is None:
                    self._users += 1
                    self._send(Phase.WARMUP, flight.tally.t0)
            self._ready.extend(self._next() for _ in range(self._users))
            if self._users:
                await self._over
        finally:
            flight.forget_time()
            if self._deadline is not None:
                self._deadline.cancel()
        if flight.error is not None:
            raise flight.error

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """The user of each sends its next one, or leaves."""
        for exchange in exchanges:
            self._unfinished -= exchange.asked.phase == Phase.MEASURED
            if self._flight.stopper.reason is None and (self._unfinished > 0 or not self._all_ended()):
                phase = Phase.MEASURED if self._tickets > 0 else Phase.COOLDOWN
                self._tickets -= phase == Phase.MEASURED
                self._send(phase, exchange.end_ns)
            else:
                self._users -= 1
                self._begin_drain()

    def booked(self) -> None:
        while len(self._ready) < self._users:
            self._ready.append(self._next())

    def look(self) -> None:
        if not self._over.done() and (not self._users or self._flight.error is not None):
            self._over.set_result(None)

    def time_is_up(self) -> None:
        self._begin_drain()

    def _begin_drain(self) -> None:
        """From now on what is in flight has `drain_ns` to end."""
        self._flight.forget_time()
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._drain_ns / 1e9, self._flight.give_up, Failure.CENSORED)

    def _send(self, phase: Phase, intended: int) -> None:
        seq, prepared = self._ready.popleft()
        self._flight.send(prepared, seq, phase, intended)

    def _next(self) -> tuple[int, Prepared]:
        seq = self._seq
        self._seq += self._step
        return seq, self._flight.maker.make(seq, self._order[seq % len(self._order)])


class _OpenLoop:
    def __init__(
        self, flight: Flight, drain_ns: int, schedule: Schedule, wake: Wake, max_in_flight: int, on_full: str
    ) -> None:
        self._flight = flight
        self._drain_ns = drain_ns
        self._schedule = schedule
        self._agenda = Agenda(schedule)
        self._wake = wake
        self._max_in_flight = max_in_flight
        self._on_full = on_full
        self._before_turns: dict[Exchange, int] = {}  # in flight, and another turn waits for its end
        self._room: asyncio.Future[None] | None = None
        self.beside: Beside | None = None
        flight.loop = self

    async def run(self, t0_ns: int | None) -> None:
        flight, agenda, schedule = self._flight, self._agenda, self._schedule
        t0 = flight.tally.t0 = flight.clock() + _LEAD_NS if t0_ns is None else t0_ns
        flight.watch_time()
        if self.beside is not None:
            self.beside.begin()
        made = -1
        while flight.stopper.reason is None:
            head = agenda.head()
            if head is None:
                if not await self._until_turn():
                    break
                continue
            due, position = head
            if position != made:
                prepared = flight.maker.make(schedule.seq[position], schedule.arrival[position])
                made = position
            if not await self._wake.until(t0 + due):
                await asyncio.sleep(0)  # behind: answers must be read all the same
            if flight.stopper.reason is None and agenda.head() == head:
                agenda.pop(head)
                full = len(flight.in_flight) >= self._max_in_flight
                if not full or await self._room_for_one(position):
                    self._send(position, prepared, t0 + due, late_by_plan=full)
        await self._drain()
        if flight.error is not None:
            raise flight.error

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """The turns after those that have ended are due after their think time."""
        for exchange in exchanges if self._before_turns else ():
            position = self._before_turns.pop(exchange, None)
            if position is not None and self._agenda.ended(position, exchange.end_ns - self._flight.tally.t0):
                self._wake.cut()
        if self.beside is not None:
            self.beside.ended(exchanges)

    def booked(self) -> None:
        return None

    def look(self) -> None:
        """Who waits, for room or for the next start, looks again at whether to go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._flight.stopper.reason is not None:
            self._wake.cut()

    def time_is_up(self) -> None:
        self.look()

    def _send(self, position: int, prepared: Prepared, intended: int, late_by_plan: bool) -> None:
        schedule = self._schedule
        exchange = self._flight.send(
            prepared,
            schedule.seq[position],
            Phase.WARMUP if schedule.warmup[position] else Phase.MEASURED,
            intended,
            late_by_plan=late_by_plan,
            label=schedule.label(position),
        )
        if position in schedule.turns:
            self._before_turns[exchange] = position

    async def _room_for_one(self, position: int) -> bool:
        """What the plan says where max_in_flight is reached; whether the request is to be sent all the same."""
        flight, most = self._flight, self._max_in_flight
        measured = not self._schedule.warmup[position]
        main = measured and self._schedule.label(position) != STRESS
        if self._on_full == "queue":
            while len(flight.in_flight) >= most and flight.stopper.reason is None:
                await self._something_ended()
            if flight.stopper.reason is not None:
                return False
            flight.tally.queued += measured
            return True
        flight.tally.dropped += main
        if self._on_full == "abort":
            flight.stopper.stop("max_in_flight", f"{most} requests were in flight (on_full = abort)")
        else:
            self._agenda.ended(position, flight.clock() - flight.tally.t0)
        return False

    async def _until_turn(self) -> bool:
        """Wait for something in flight that a turn waits for; whether there is a turn. The timeouts of a request say
        how long that may take: the time of a drain begins when nothing is left to send."""
        agenda = self._agenda
        while agenda.waiting and agenda.head() is None and self._flight.stopper.reason is None:
            await self._something_ended()
        return agenda.head() is not None

    async def _something_ended(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    async def _drain(self) -> None:
        """Wait for what is in flight; what is left at the deadline is kept as censored, at its age."""
        flight = self._flight
        flight.forget_time()
        if self.beside is not None:
            self.beside.end()
        if flight.in_flight:
            await asyncio.wait([e.done for e in flight.in_flight], timeout=self._drain_ns / 1e9)
        flight.give_up(Failure.CENSORED)
        await asyncio.sleep(0)  # let the callbacks of those just ended run
