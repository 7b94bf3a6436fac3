"""How a run looks while it goes, on stderr: lines that stay, and on a terminal two lines that move below them.

Where nobody looks (CI, a pipe) there is a line now and then instead, between two legs and never within one.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from textwrap import wrap
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.hush import outlive_the_reader
from flows.listen import Under
from tasks.load.pulse import Pulse, Seen

DRAW_S = 1.0  # a picture a second: drawing costs CPU that the measurement may need
LINE_S = 30.0  # between two lines where nobody looks
_LOWEST = 19  # of a thread's priority


class Terminal:
    """A `flows.listen.Listener`. With `quiet` nothing is shown but errors."""

    def __init__(
        self, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=quiet) if console is None else console
        outlive_the_reader(self.console)
        self._clock = clock
        self._moves = not quiet and self.console.is_terminal and not self.console.is_dumb_terminal
        self._picture = _Picture(self.console, clock) if self._moves else None
        self._said = clock()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing moves any more, and the cursor is back."""
        if self._picture is not None:
            self._picture.stop()

    def say(self, text: str) -> None:
        """A line that stays; folded between words on a terminal, for a path must stay whole, and as it is elsewhere."""
        if self.console.is_terminal:
            text = "\n".join(_folded(line, self.console.width) for line in text.split("\n"))
        self.console.print(Text(text), soft_wrap=True)
        self._said = self._clock()

    def begin(self, leg: Under) -> None:
        if self._picture is not None:
            self._picture.show(leg)
        elif self._clock() - self._said >= LINE_S and leg.number > 1:
            left = "" if leg.left_s is None else f", about {span(leg.left_s)} left"
            self.say(f"{leg.number - 1} of {leg.total} legs{left}")

    def end(self, done: int, total: int) -> None:
        if self._picture is not None and done >= total:
            self._picture.stop()


def _folded(line: str, width: int) -> str:
    return "\n".join(wrap(line, width, break_long_words=False, break_on_hyphens=False)) or line


class _Picture:
    """The two moving lines, drawn by a thread of the lowest priority."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._leg: Under | None = None
        self._pulse: Pulse | None = None
        self._begun = 0.0

    def show(self, leg: Under) -> None:
        with self._guard:
            self._leg, self._pulse, self._begun = leg, Pulse(leg.folder), self._clock()
        if self._live is None:
            self._enough.clear()
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
            self._thread = threading.Thread(target=self._follow, daemon=True, name="picture")
            self._thread.start()

    def stop(self) -> None:
        if self._live is None or self._thread is None:
            return
        self._enough.set()
        self._thread.join(5)
        self._live.stop()
        self._live = self._thread = None

    def _follow(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux a thread has a priority of its own
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        while True:
            self._draw()
            if self._enough.wait(DRAW_S):
                return

    def _draw(self) -> None:
        with self._guard:
            leg, pulse, begun = self._leg, self._pulse, self._begun
        if leg is not None and pulse is not None and self._live is not None:
            picture = lines(leg, pulse.look(), self._clock() - begun, self._console.width)
            self._live.update(picture, refresh=True)


def lines(leg: Under, seen: Seen, gone_s: float, width: int) -> RenderableType:
    """Two lines: what is measured and how far the run is; how it goes and how long it will take. `gone_s`: since the
    leg began."""
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    head.add_row(Text(leg.label, style="bold"), Text(f"  leg {leg.number} of {leg.total}", style="dim"))
    done = (leg.number - 1 + _part(leg, seen, gone_s)) / max(1, leg.total)
    words = facts(leg, seen, gone_s)
    row = Table.grid(expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    bar = max(10, min(width - 52, width - sum(len(word) + 2 for word in words) - 2))  # the same while it can be
    drawn = ProgressBar(1.0, done, bar, complete_style="cyan", finished_style="cyan")
    row.add_row(drawn, Text("  " + "  ".join(words)))
    return Group(head, row)


def facts(leg: Under, seen: Seen, gone_s: float) -> list[str]:
    """`812/s`, `0.2 % failed`, `lag 0.2 ms`, `2 min 31 s left`; what is not known yet is left out."""
    found = []
    if seen.rate_rps is not None:
        found.append(f"{seen.rate_rps:,.0f}/s" if seen.rate_rps >= 9.95 else f"{seen.rate_rps:.1f}/s")
    if seen.measured:
        share = 100 * seen.failed / seen.measured
        found.append(
            "none failed" if not seen.failed else f"{share:.2g} % failed" if share < 9.95 else f"{share:.0f} % failed"
        )
    if seen.lag_p99_ms is not None:
        found.append(f"lag {seen.lag_p99_ms:.1f} ms")
    if leg.left_s is not None:
        found.append(f"{span(max(0.0, leg.left_s - gone_s))} left")
    return found


def span(seconds: float) -> str:
    """`8 s`, `2 min 31 s`, `1 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _part(leg: Under, seen: Seen, gone_s: float) -> float:
    """How much of the leg is done, below 1."""
    if leg.requests:
        return min(0.99, seen.measured / leg.requests)
    return min(0.99, gone_s / leg.seconds) if leg.seconds else 0.0
