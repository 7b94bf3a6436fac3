"""A rate over time -> starts: evenly spaced, or drawn, under a rate that is constant, rises, falls or steps. Pure.

Points are first laid out in operational time, where one is due a unit: 0, 1, 2, … when even, or the sums of gamma gaps
with a mean of 1. Point n then starts at the instant when the integral of the rate has reached n (the inverse of the
cumulative rate; Çınlar 1975, "Introduction to Stochastic Processes", 4.7). So points drawn with cv 1 are a Poisson
process that has this rate, however the rate changes.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from storage.errors import UsageError

Instants = NDArray[np.int64]  # nanoseconds
Piece = tuple[float, float, float]  # seconds, rate at its begin, rate at its end (requests a second); linear between

_CHUNK = 1 << 16
_TINY = 1e-9  # of a request: what rounding may add to a whole number


def mass(pieces: Sequence[Piece]) -> float:
    """How many requests the pieces hold: the integral of the rate."""
    return sum(seconds * (begin + end) / 2 for seconds, begin, end in pieces)


def check(pieces: Sequence[Piece]) -> None:
    """Raises UsageError where nothing would be sent, or where a number makes no sense."""
    for seconds, begin, end in pieces:
        if not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(f"a load of {seconds} s sends nothing; its length must be above 0")
        if not (math.isfinite(begin + end) and begin >= 0 and end >= 0):
            raise UsageError(f"a rate from {begin} to {end} requests a second is none; rates must be above 0")
    if mass(pieces) <= 0:
        raise UsageError("a rate of 0 requests a second sends nothing; it must be above 0")


def even(count: float) -> NDArray[np.float64]:
    """0, 1, 2, … below `count`."""
    return np.arange(math.ceil(count - _TINY), dtype=np.float64)


def renewal(count: float, cv: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points below `count` whose gaps are gamma with mean 1 and this coefficient of variation; cv 1 is Poisson.

    The first gap is what is left of a gap that began before 0 (U times a gap drawn by its length: gamma with shape
    k + 1), so that the rate is right from the first second on (Cox 1962, "Renewal Theory", 2.5).
    """
    if not (math.isfinite(cv) and cv > 0):
        raise UsageError(f"cv {cv}: the spread of the gaps must be above 0 (1 is Poisson; evenly spaced is 'constant')")
    shape, scale = cv**-2, cv**2
    parts = [np.array([rng.random() * rng.gamma(shape + 1, scale)])]
    while parts[-1][-1] < count:
        size = int(min(_CHUNK, 1.1 * (count - parts[-1][-1]) + 64))
        parts.append(parts[-1][-1] + np.cumsum(rng.gamma(shape, scale, size)))
    points = np.concatenate(parts)
    return points[points < count]


def instants(points: NDArray[np.float64], pieces: Sequence[Piece]) -> Instants:
    """When the integral of the rate reaches each of the points, in ns from 0, rounded down.

    In a piece from r0 to r1 over T the integral is r0 t + (r1 - r0) t² / 2T; its inverse is written as
    2 n / (r0 + sqrt(r0² + 2 n (r1 - r0) / T)), which also holds for r0 = r1.
    """
    held = np.array([seconds * (begin + end) / 2 for seconds, begin, end in pieces])
    starts = np.concatenate(([0.0], np.cumsum([piece[0] for piece in pieces])))
    sums = np.concatenate(([0.0], np.cumsum(held)))
    which = np.clip(np.searchsorted(sums, points, side="right") - 1, 0, len(pieces) - 1)
    table = np.array(pieces)
    seconds, begin, end = table[which, 0], table[which, 1], table[which, 2]
    inside = points - sums[which]
    root = begin + np.sqrt(np.maximum(begin**2 + 2 * inside * (end - begin) / seconds, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        after = np.where(inside > 0, 2e9 * inside / root, 0.0)
    found: Instants = np.floor(starts[which] * 1e9 + np.minimum(after, seconds * 1e9)).astype(np.int64)
    return found


def starts(pieces: Sequence[Piece], cv: float | None, rng: np.random.Generator) -> Instants:
    """Starts under the rate of the pieces: evenly spaced where cv is None, else drawn."""
    check(pieces)
    count = mass(pieces)
    return instants(even(count) if cv is None else renewal(count, cv, rng), pieces)
