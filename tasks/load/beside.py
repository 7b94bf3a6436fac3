"""The users of a stress, at work while an open loop sends."""

import asyncio
from collections.abc import Sequence

from storage.records import STRESS, Phase
from tasks.load.exchange import Exchange
from tasks.load.flight import Flight
from tasks.load.stress import Users


class Beside:
    """Each user sends its next request when its last has ended."""

    def __init__(self, flight: Flight, users: Users) -> None:
        self._flight = flight
        self._users = users
        self._mine: set[Exchange] = set()
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """They send their first requests at `from_ns`."""
        wait_ns = self._flight.tally.t0 + self._users.from_ns - self._flight.clock()
        self._timer = asyncio.get_running_loop().call_later(max(0, wait_ns) / 1e9, self._all)

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges if self._mine else ():
            if exchange in self._mine:
                self._mine.remove(exchange)
                self._one(exchange.end_ns)

    def end(self) -> None:
        """The replay has sent its last request."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _all(self) -> None:
        for _ in range(self._users.count):
            self._one(self._flight.clock())

    def _one(self, now_ns: int) -> None:
        flight = self._flight
        late = now_ns >= flight.tally.t0 + self._users.until_ns
        if self._over or late or flight.stopper.reason is not None:
            return
        seq, arrival = self._users.next()
        prepared = flight.maker.make(seq, arrival)
        self._mine.add(flight.send(prepared, seq, Phase.MEASURED, now_ns, late_by_plan=True, label=STRESS))
