"""Recorded arrivals -> starts: an idle gap capped, more or fewer of them, faster, again and again. Pure.

Rows of one unit belong together: the turns of a session where sessions are kept, else each row by itself. So thinning
leaves a session out whole, and a shifted copy moves it whole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.errors import UsageError

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Track:
    """Equal lengths, sorted by `at_ns`, which counts from the first row that was recorded."""

    at_ns: Ints
    arrival: Ints  # which arrival of the workload
    unit: Ints

    def __len__(self) -> int:
        return len(self.at_ns)

    def take(self, chosen: NDArray[np.bool_]) -> "Track":
        return Track(self.at_ns[chosen], self.arrival[chosen], self.unit[chosen])


def recorded(offsets_ns: Sequence[int], sessions: Sequence[str | None] | None = None) -> Track:
    """The arrivals as they were, from the first of them; `sessions` None: no row belongs to another."""
    at = np.asarray(offsets_ns, dtype=np.int64)
    rows = np.arange(len(at), dtype=np.int64)
    return Track(at - at[0] if len(at) else at, rows, rows if sessions is None else units(sessions))


def units(sessions: Sequence[str | None]) -> Ints:
    """A number for each row, the same for the rows of one session: that of its first row."""
    first: dict[str, int] = {}
    return np.array(
        [row if key is None else first.setdefault(key, row) for row, key in enumerate(sessions)], dtype=np.int64
    )


def cap_idle(track: Track, longest_ns: int) -> Track:
    """No gap between two arrivals longer than this; everything behind a longer one comes as much earlier."""
    if longest_ns <= 0:
        raise UsageError("the longest idle gap must be above 0 s")
    gaps = np.minimum(np.diff(track.at_ns, prepend=0), longest_ns)
    return Track(np.cumsum(gaps), track.arrival, track.unit)


def faster(track: Track, speed: float) -> Track:
    """Every gap divided by `speed`."""
    if not (math.isfinite(speed) and speed > 0):
        raise UsageError(f"speed {speed}: must be above 0 (2 plays twice as fast)")
    if speed == 1:
        return track
    return Track((track.at_ns / speed).astype(np.int64), track.arrival, track.unit)


def thin(track: Track, keep: float, rng: np.random.Generator) -> Track:
    """Each unit stays with this chance, by itself: the mix and the bursts stay what they were, on average."""
    if not 0 < keep <= 1:
        raise UsageError(f"cannot keep a share of {keep:g} of the requests; it must be above 0 and at most 1")
    ids, of_row = np.unique(track.unit, return_inverse=True)
    thinned = track.take((rng.random(len(ids)) < keep)[of_row])
    if not len(thinned):
        raise UsageError(f"a share of {keep:g} of {len(track)} requests leaves none; take more of them")
    return thinned


def superpose(track: Track, copies: int, rng: np.random.Generator) -> Track:
    """The track and `copies` - 1 more of it on top, each shifted round its own span by a drawn time.

    A unit that is shifted past the end begins again at the front, whole; its later rows may end behind the span.
    """
    if copies < 1:
        raise UsageError(f"{copies} copies of the workload: there must be at least 1")
    if copies == 1:
        return track
    _, first, of_row = np.unique(track.unit, return_index=True, return_inverse=True)
    begin = track.at_ns[first][of_row]
    period = _period(track)
    at, unit = [track.at_ns], [track.unit]
    step = int(track.unit.max()) + 1
    for copy in range(1, copies):
        shifted = (begin + int(rng.random() * period)) % period
        at.append(shifted + track.at_ns - begin)
        unit.append(track.unit + copy * step)
    return _sorted(Track(np.concatenate(at), np.tile(track.arrival, copies), np.concatenate(unit)))


def scale(track: Track, factor: float, rng: np.random.Generator) -> Track:
    """`factor` times as many requests in the same time, by superposition and thinning: 2.5 is three shifted copies of
    which each unit stays with a chance of 2.5 / 3. Unlike a higher speed it leaves think times as they were."""
    if not (math.isfinite(factor) and factor > 0):
        raise UsageError(f"scale {factor}: must be above 0 (2 sends twice as many)")
    copies = math.ceil(factor)
    more = superpose(track, copies, rng)
    return more if factor == copies else thin(more, factor / copies, rng)


def loop(track: Track, until_ns: int) -> Track:
    """Played again and again, all starts below `until_ns`. The seam between two passes is one mean gap."""
    if until_ns <= 0:
        raise UsageError("a workload played in a loop needs a length above 0 s")
    period = _period(track)
    passes = math.ceil(until_ns / period)
    step = int(track.unit.max()) + 1
    nth = np.repeat(np.arange(passes, dtype=np.int64), len(track))
    again = Track(
        np.tile(track.at_ns, passes) + nth * period,
        np.tile(track.arrival, passes),
        np.tile(track.unit, passes) + nth * step,
    )
    return _sorted(again.take(again.at_ns < until_ns))


def _period(track: Track) -> int:
    """How long one pass is: from the first row to the last, and a mean gap behind it."""
    span = int(track.at_ns[-1]) if len(track) else 0
    if span <= 0:
        raise UsageError("all requests of this workload come at one instant: it cannot be repeated or laid over itself")
    return span + max(1, span // (len(track) - 1))


def _sorted(track: Track) -> Track:
    order = np.argsort(track.at_ns, kind="stable")
    return Track(track.at_ns[order], track.arrival[order], track.unit[order])
