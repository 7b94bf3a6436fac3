"""Deadlines in nanoseconds on an event loop. Loop timers are in whole milliseconds under uvloop, so the next deadline
is armed on a Linux timerfd that the loop reads; where there is none, on the loop's own timer.

`time.perf_counter_ns` and the timerfd read the same clock (CLOCK_MONOTONIC), so a deadline needs no translation.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from time import perf_counter_ns
from typing import Protocol

_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1  # <time.h>, TFD_TIMER_ABSTIME


class Alarm(Protocol):
    """Rings once, at or after a deadline; setting it again replaces the deadline."""

    def set(self, due_ns: int) -> None: ...

    def close(self) -> None: ...


AlarmOf = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm]


class Timers:
    """Calls functions at their deadlines, earliest first. Without a cancel: a call that lost its point just returns."""

    def __init__(self, loop: asyncio.AbstractEventLoop, alarm_of: AlarmOf | None = None) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._armed: int | None = None
        self._ringing = False
        self._alarm = (best_alarm() if alarm_of is None else alarm_of)(loop, self._ring)

    def at(self, due_ns: int, call: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._heap, (due_ns, self._order, call))
        if not self._ringing and (self._armed is None or due_ns < self._armed):
            self._arm(due_ns)

    def close(self) -> None:
        self._heap.clear()
        self._alarm.close()

    def _arm(self, due_ns: int) -> None:
        self._armed = due_ns
        self._alarm.set(due_ns)

    def _ring(self) -> None:
        """Everything due now; what comes due meanwhile waits for the next turn of the loop, after the sockets."""
        self._armed, self._ringing = None, True
        heap, now = self._heap, perf_counter_ns()
        try:
            while heap and heap[0][0] <= now:
                heappop(heap)[2]()
        finally:
            self._ringing = False
            if heap:
                self._arm(heap[0][0])


def best_alarm() -> AlarmOf:
    """The most exact alarm of this machine."""
    return FdAlarm if sys.platform == "linux" else LoopAlarm


class LoopAlarm:
    """The loop's own timer: a millisecond or so late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due_ns: int) -> None:
        self.close()
        wait_s = max(0, due_ns - perf_counter_ns()) / 1e9
        self._handle = self._loop.call_at(self._loop.time() + wait_s, self._ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class FdAlarm:
    """A timerfd, readable from its deadline on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._fd, self._settime = open_timerfd()
        loop.add_reader(self._fd, self._readable)

    def set(self, due_ns: int) -> None:
        self._settime(max(1, due_ns))  # zero would disarm it

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again between the loop's poll and this read: it will ring again
            return
        self._ring()


if sys.version_info >= (3, 13):

    def open_timerfd() -> tuple[int, Callable[[int], None]]:
        """(descriptor, function that arms it at an absolute instant in ns)."""
        fd = os.timerfd_create(_CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

        def arm(due_ns: int) -> None:
            os.timerfd_settime_ns(fd, flags=_ABSOLUTE, initial=due_ns)

        return fd, arm

else:

    class _Timespec(ctypes.Structure):
        _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]

    class _Itimerspec(ctypes.Structure):
        _fields_ = [("it_interval", _Timespec), ("it_value", _Timespec)]

    def open_timerfd() -> tuple[int, Callable[[int], None]]:
        """(descriptor, function that arms it at an absolute instant in ns)."""
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        spec = _Itimerspec()
        value, at, settime = spec.it_value, ctypes.byref(spec), libc.timerfd_settime

        def arm(due_ns: int) -> None:
            value.tv_sec, value.tv_nsec = divmod(due_ns, 1_000_000_000)
            if settime(fd, _ABSOLUTE, at, None) < 0:
                raise OSError(ctypes.get_errno(), "timerfd_settime")

        return fd, arm
