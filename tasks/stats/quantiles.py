"""Quantiles by the definition the whole project uses."""

import math

import numpy as np
from numpy.typing import NDArray

LEAST = {0.5: 5, 0.9: 10, 0.95: 20, 0.99: 100}  # requests a block, below which a quantile is not a number


def type8(ordered: NDArray[np.float64], q: float) -> tuple[float, int]:
    """(quantile, index of the upper order statistic it leans on) of values in rising order.

    Hyndman & Fan (1996), definition 8, median-unbiased: h = (n + 1/3) q + 1/3, interpolated between the order
    statistics at floor(h) and floor(h) + 1, counted from 1 and held inside 1 … n.
    """
    n = len(ordered)
    h = min(max((n + 1 / 3) * q + 1 / 3, 1.0), float(n))
    low = math.floor(h)
    high = min(low + 1, n)
    share = h - low
    value = ordered[low - 1] + share * (ordered[high - 1] - ordered[low - 1])
    return float(value), (high if share > 0 else low) - 1
