"""S slots and a first-in, first-out queue before them."""

from collections import deque
from enum import Enum
from time import perf_counter_ns
from typing import Protocol

from tasks.simulator.ledger import Ledger


class Place(Enum):
    OUTSIDE = 0
    QUEUED = 1
    HOLDING = 2


class Holder(Protocol):
    place: Place
    take_ns: int

    def begin(self) -> None:
        """Called when the slot is taken; take_ns is set. May leave the gate before it returns."""


class Gate:
    """Hands slots out. A freed slot is taken by the next in line at the same instant, so that a saturated gate serves
    exactly slots / mean hold."""

    def __init__(self, slots: int, queue_limit: int, ledger: Ledger) -> None:
        self.slots, self.queue_limit = slots, queue_limit  # 0: unlimited
        self.in_flight = self.queued = self.peak_in_flight = 0
        self._ledger = ledger
        self._line: deque[Holder] = deque()
        self._admitting = False

    def enter(self, holder: Holder) -> bool:
        """Take a slot or a place in the queue; False: the queue is full."""
        if self._free() and not self.queued:
            self._take(holder, perf_counter_ns())
            return True
        if self.queue_limit and self.queued >= self.queue_limit:
            return False
        holder.place = Place.QUEUED
        self.queued += 1
        self._line.append(holder)
        return True

    def leave(self, holder: Holder, *, served: bool = True) -> None:
        """Free the slot or the place in the queue, whichever the holder has. A hold that was cut short by the client
        (served False) is no measure of capacity and is not counted as one."""
        if holder.place is Place.QUEUED:
            self.queued -= 1  # it stays in the line, to be passed over
            holder.place = Place.OUTSIDE
        elif holder.place is Place.HOLDING:
            now = perf_counter_ns()
            holder.place = Place.OUTSIDE
            self.in_flight -= 1
            if served:
                self._ledger.hold(now - holder.take_ns)
            if self._line:
                self._admit(now)

    def resize(self, slots: int, queue_limit: int) -> None:
        """Slots held beyond a smaller number are not taken away."""
        self.slots, self.queue_limit = slots, queue_limit
        self._admit(perf_counter_ns())

    def _free(self) -> bool:
        return self.slots == 0 or self.in_flight < self.slots

    def _admit(self, now: int) -> None:
        if self._admitting:  # a holder that ends as it begins is followed by the loop below, not by a deeper call
            return
        self._admitting = True
        try:
            while self._line and self._free():
                holder = self._line.popleft()
                if holder.place is Place.QUEUED:
                    self.queued -= 1
                    self._take(holder, now)
                    now = perf_counter_ns()
        finally:
            self._admitting = False

    def _take(self, holder: Holder, now: int) -> None:
        holder.place = Place.HOLDING
        holder.take_ns = now
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        holder.begin()
