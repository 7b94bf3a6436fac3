"""Every request when it is due, whatever the target does; only a turn of a session waits for the turn before it."""

import asyncio
from collections.abc import Callable, Sequence

from storage.records import STRESS, Failure, Phase
from tasks.load.agenda import Agenda
from tasks.load.beside import Beside
from tasks.load.clock import Wake
from tasks.load.exchange import Exchange
from tasks.load.flight import Flight
from tasks.load.requests import Prepared
from tasks.load.schedule import Schedule

_LEAD_NS = 20_000_000  # an open loop begins this long after it was started, so that the first request is on time too


class OpenLoop:
    def __init__(
        self,
        flight: Flight,
        drain_ns: int,
        schedule: Schedule,
        wake: Wake,
        max_in_flight: int,
        on_full: str,
        sent_all: Callable[[], None],
    ) -> None:
        self._flight = flight
        self._drain_ns = drain_ns
        self._schedule = schedule
        self._agenda = Agenda(schedule)
        self._wake = wake
        self._max_in_flight = max_in_flight
        self._on_full = on_full
        self._sent_all = sent_all
        self._before_turns: dict[Exchange, int] = {}  # in flight, and another turn waits for its end
        self._room: asyncio.Future[None] | None = None
        self._held_until = 0  # what was due before this instant left late because there was no room
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
                if len(flight.in_flight) < self._max_in_flight or await self._room_for_one(position):
                    self._send(position, prepared, t0 + due)
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

    def _send(self, position: int, prepared: Prepared, intended: int) -> None:
        schedule = self._schedule
        held = intended < self._held_until
        self._flight.tally.queued += held and not schedule.warmup[position]
        exchange = self._flight.send(
            prepared,
            schedule.seq[position],
            Phase.WARMUP if schedule.warmup[position] else Phase.MEASURED,
            intended,
            late_by_plan=held,
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
            self._held_until = flight.clock()
            return flight.stopper.reason is None
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
        self._sent_all()
        flight.forget_time()
        if self.beside is not None:
            self.beside.end()
        if flight.in_flight:
            await asyncio.wait([e.done for e in flight.in_flight], timeout=self._drain_ns / 1e9)
        flight.give_up(Failure.CENSORED)
        await asyncio.sleep(0)  # let the callbacks of those just ended run
