"""Block figures -> one estimate. The block is the unit: requests inside one share its luck."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from storage.records import Estimate

LEVEL = 0.975


def log_mean(values: Sequence[float], n: int, *, least_half_width: float = 0.0, at_least: bool = False) -> Estimate:
    """exp(mean of the logs) with ± t(.975, B−1) · s/√B on the log scale; the half-width is never below
    `least_half_width` (a share). No interval below two blocks. Values must be above 0."""
    logs = np.log(np.asarray(values))
    centre = float(logs.mean())
    blocks = len(logs)
    if blocks < 2:
        return Estimate(math.exp(centre), None, None, n, blocks, at_least)
    half = float(student.ppf(LEVEL, blocks - 1)) * float(logs.std(ddof=1)) / math.sqrt(blocks)
    half = max(half, math.log1p(least_half_width))
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), n, blocks, at_least)


def share(failed: int, n: int) -> Estimate:
    """A share with its 95 % Wilson score interval (Wilson 1927). It speaks of tonight's requests alone."""
    z = 1.959963984540054
    p = failed / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    lower = 0.0 if failed == 0 else max(0.0, centre - half)
    upper = 1.0 if failed == n else min(1.0, centre + half)
    return Estimate(p, lower, upper, n, 1)
