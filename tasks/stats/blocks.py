"""Block figures -> one estimate. The block is the unit: requests inside one share its luck."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from storage.records import Estimate

LEVEL = 0.975


def log_mean(values: Sequence[float], n: int, *, least_half_width: float = 0.0, at_least: bool = False) -> Estimate:
    """exp(mean of the logs) with ± t(.975, B−1) · s/√B on the log scale; neither side is nearer to the point than
    `least_half_width` (a share of it). No interval below two blocks. A block of 0 has no logarithm: then it is the
    plain mean, without an interval."""
    figures = np.asarray(values, dtype=np.float64)
    blocks = len(figures)
    if figures.min() <= 0:
        return Estimate(float(figures.mean()), None, None, n, blocks, at_least)
    logs = np.log(figures)
    centre = float(logs.mean())
    point = math.exp(centre)
    if blocks < 2:
        return Estimate(point, None, None, n, blocks, at_least)
    half = float(stdtrit(blocks - 1, LEVEL)) * float(logs.std(ddof=1)) / math.sqrt(blocks)
    lower = min(math.exp(centre - half), point * (1 - least_half_width))
    upper = max(math.exp(centre + half), point * (1 + least_half_width))
    return Estimate(point, lower, upper, n, blocks, at_least)


def share(failed: int, n: int) -> Estimate:
    """A share with its 95 % Wilson score interval (Wilson 1927). It speaks of tonight's requests alone."""
    z = 1.959963984540054
    p = failed / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    lower = 0.0 if failed == 0 else max(0.0, centre - half)
    upper = 1.0 if failed == n else min(1.0, centre + half)
    return Estimate(p, lower, upper, n, 1)
