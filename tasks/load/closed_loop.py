"""So many users at a time, each sending its next request when its last has ended."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from storage.records import Failure, Phase
from tasks.load.exchange import Exchange
from tasks.load.flight import Flight
from tasks.load.requests import Prepared


class ClosedLoop:
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
