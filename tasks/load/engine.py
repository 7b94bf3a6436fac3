"""Closed loop and open loop (`closed_loop.py`, `open_loop.py`): the only place that waits.

Closed loop: `level` virtual users, each sending its next request when its last has ended. A user's first request is
warm-up; then `requests` are measured; users keep the target loaded until the last measured one has ended, and that
surplus is cool-down. Open loop: every request is sent at its intended start, whatever the target does; only a turn of
a session waits for the turn before it.

Every attempt ends in exactly one row.
"""

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from storage.records import Failure
from tasks.load.beside import Beside
from tasks.load.clock import Wake
from tasks.load.closed_loop import ClosedLoop
from tasks.load.flight import Flight, Keeper, Maker, Sender, Tally
from tasks.load.limits import Stopper
from tasks.load.open_loop import OpenLoop
from tasks.load.schedule import Schedule
from tasks.load.stress import Users


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
        sent_all: Callable[[], None] = lambda: None,
    ) -> None:
        """`stripe`, `all_ended`: in a closed loop over several workers, number of this one and how many there are; and
        whether all of them have ended their measured requests. `sent_all`: called once in an open loop, when nothing
        is left to send."""
        self._flight = Flight(sender, maker, keeper, stopper, label=label, clock=clock)
        self._drain_ns = drain_ns
        self._stripe = stripe
        self._all_ended = all_ended
        self._sent_all = sent_all

    @property
    def tally(self) -> Tally:
        return self._flight.tally

    async def closed_loop(self, users: int, requests: int, order: Sequence[int], t0_ns: int | None = None) -> None:
        """`requests` measured at `users` concurrent; arrivals are drawn in `order`, again and again. `t0_ns`: the
        instant, just past, that the workers agreed to begin at; None: now."""
        loop = ClosedLoop(self._flight, self._drain_ns, order, self._stripe, self._all_ended)
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
        loop = OpenLoop(self._flight, self._drain_ns, schedule, wake, max_in_flight, on_full, self._sent_all)
        if stress is not None:
            loop.beside = Beside(self._flight, stress)
        await loop.run(t0_ns)

    def give_up(self, failure: Failure) -> None:
        """End everything in flight now."""
        self._flight.give_up(failure)
