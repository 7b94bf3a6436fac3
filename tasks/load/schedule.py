"""Arrivals or a rate -> intended starts, in nanoseconds from t0. Pure; all of it exists before the first send."""

import math
import random
from collections.abc import Sequence

from storage.errors import UsageError


def constant(rate_rps: float, duration_s: float) -> list[int]:
    """Evenly spaced starts: k / rate for every k that lies inside the duration."""
    if rate_rps <= 0 or duration_s <= 0:
        raise UsageError(
            f"a rate of {rate_rps} requests a second for {duration_s} s sends nothing; both must be above 0"
        )
    count = math.ceil(rate_rps * duration_s - 1e-9)
    return [int(k * 1e9 / rate_rps) for k in range(count)]


def recorded(offsets_ns: Sequence[int], speed: float = 1.0) -> list[int]:
    """The recorded offsets from the first of them, played `speed` times as fast."""
    if speed <= 0:
        raise UsageError(f"speed {speed}: must be above 0 (2 plays twice as fast)")
    first = offsets_ns[0] if offsets_ns else 0
    return [int((offset - first) / speed) for offset in offsets_ns]


def order(seed: int, block: int, level: int, count: int) -> list[int]:
    """Which arrivals a closed-loop leg draws, in which order: the same for every target and every night."""
    indices = list(range(count))
    random.Random(f"{seed}/{block}/{level}").shuffle(indices)
    return indices
