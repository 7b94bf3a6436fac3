"""Many tests at once."""

import numpy as np

from tasks.stats.nights import Floats


def benjamini_hochberg(p: Floats, q: float) -> list[bool]:
    """Which hypotheses fall at false discovery rate q (Benjamini & Hochberg 1995)."""
    m = len(p)
    if not m:
        return []
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= q * np.arange(1, m + 1) / m)
    if not len(below):
        return [False] * m
    limit = ordered[below[-1]]
    return [bool(value <= limit) for value in p]
