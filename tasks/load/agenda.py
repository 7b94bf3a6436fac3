"""What is due next in an open loop: the starts of a schedule, and turns of sessions as the turns before them end. Pure.

Instants are nanoseconds from the leg's t0.
"""

from heapq import heappop, heappush

from tasks.load.schedule import Schedule


class Agenda:
    """`head` says what is due next and when, `pop` takes it, `ended` tells that something taken has ended."""

    def __init__(self, schedule: Schedule) -> None:
        self._due = schedule.due_ns
        self._turns = schedule.turns
        self._firsts = schedule.firsts
        self._next = 0
        self._ready: list[tuple[int, int]] = []  # heap of (due, position): turns whose turn before has ended
        self.waiting = 0  # turns whose turn before was taken and has not ended

    def head(self) -> tuple[int, int] | None:
        """(due, position in the schedule); None: nothing is due before something that was taken ends, if ever."""
        ready = self._ready[0] if self._ready else None
        if self._next == len(self._firsts):
            return ready
        position = self._firsts[self._next]
        first = (self._due[position], position)
        return first if ready is None or first < ready else ready

    def pop(self, head: tuple[int, int]) -> None:
        """Take the head."""
        if self._ready and self._ready[0] == head:
            heappop(self._ready)
        else:
            self._next += 1
        self.waiting += head[1] in self._turns

    def ended(self, position: int, end_ns: int) -> bool:
        """What was taken has ended, well or not; whether the turn after it is now the head."""
        turn = self._turns.get(position)
        if turn is None:
            return False
        self.waiting -= 1
        entry = (max(end_ns + turn.think_ns, turn.not_before_ns), turn.position)
        heappush(self._ready, entry)
        return self.head() == entry
