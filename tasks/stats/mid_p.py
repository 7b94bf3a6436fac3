"""Upper mid-p of a count: P(K > k) + P(K = k) / 2, for K binomial or beta-binomial; 0 ≤ k ≤ n.

By `scipy.special`, as all of our distributions: importing `scipy.stats` takes longer than judging a night.
"""

import numpy as np
from scipy.special import bdtrc, betaln


def binomial(k: int, n: int, p: float) -> float:
    """`k` of `n` with the chance `p` each."""
    return float(bdtrc(k, n, p) + bdtrc(k - 1, n, p)) / 2


def beta_binomial(k: int, n: int, a: float, b: float) -> float:
    """`k` of `n` with a chance drawn once from Beta(a, b): P(K = j) = C(n, j) B(j + a, n − j + b) / B(a, b), summed
    over the tail (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 6.2.2)."""
    j = np.arange(k, n + 1)
    ways = -np.log(n + 1) - betaln(n - j + 1, j + 1)
    mass = np.exp(ways + betaln(j + a, n - j + b) - betaln(a, b))
    return float(mass.sum() - mass[:1].sum() / 2)
