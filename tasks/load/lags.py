"""How late things were, counted by size."""

import math
from collections.abc import Sequence

import numpy as np

_BITS = 8
_SIZE = 64 << _BITS


class Lags:
    """How many durations (ns) there were of each size: memory stays flat, and those of several workers add up.

    A quantile is the upper edge of its bucket: at most 0.8 % above the truth, never below; the largest is exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_SIZE, np.int64)
        self.count = 0
        self.largest = 0

    def __getstate__(self) -> tuple[bytes, bytes, int, int]:
        """Only what is there: a worker's result must be small enough to be handed over at once."""
        there = np.flatnonzero(self._counts)
        return there.astype(np.int32).tobytes(), self._counts[there].tobytes(), self.count, self.largest

    def __setstate__(self, state: tuple[bytes, bytes, int, int]) -> None:
        self._counts = np.zeros(_SIZE, np.int64)
        there, counts, self.count, self.largest = state
        self._counts[np.frombuffer(there, np.int32)] = np.frombuffer(counts, np.int64)

    def fold(self, values: Sequence[int]) -> None:
        if not values:
            return
        found = np.asarray(values, np.int64)
        shift = np.maximum(np.frexp(found.astype(np.float64))[1] - _BITS, 0)
        self._counts += np.bincount((shift << _BITS) + (found >> shift), minlength=_SIZE)
        self.count += len(found)
        self.largest = max(self.largest, int(found.max()))

    def add(self, other: "Lags") -> None:
        self._counts += other._counts
        self.count += other.count
        self.largest = max(self.largest, other.largest)

    def quantile(self, q: float) -> float | None:
        """Nearest-rank quantile; None of nothing."""
        if not self.count:
            return None
        rank = max(1, math.ceil(q * self.count))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        shift = bucket >> _BITS
        edge = (((bucket - (shift << _BITS)) + 1) << shift) - 1
        return float(min(edge, self.largest))

    def share_above(self, limit_ns: float) -> float | None:
        """Share of those in buckets wholly above the limit; None of nothing."""
        if not self.count:
            return None
        found = int(max(0.0, min(limit_ns, 2.0**62)))
        shift = max(0, found.bit_length() - _BITS)
        return float(self._counts[(shift << _BITS) + (found >> shift) + 1 :].sum()) / self.count


def quantile(values: Sequence[int], q: float) -> float | None:
    """Nearest-rank quantile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(q * len(ordered)) - 1)])


def missed(late_ns: int, step_ns: int) -> list[int]:
    """The lag of a timer that woke so late, and of those that would have been due meanwhile: without them a stall of a
    second would count no more than one of a millisecond."""
    return [late_ns - skipped for skipped in range(0, late_ns + 1, step_ns)] if late_ns > 0 else [0]
