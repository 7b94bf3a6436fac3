"""Slots behind a first-in, first-out queue, in virtual time: what an open loop sees of a server of known capacity."""

from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Server:
    """`cv`: standard deviation / mean of the lognormal service times; 0: constant."""

    slots: int
    service_s: float
    cv: float = 0.0

    @property
    def capacity_rps(self) -> float:
        return self.slots / self.service_s

    def holds(self, rng: np.random.Generator, n: int) -> Floats:
        if self.cv == 0:
            return np.full(n, self.service_s)
        variance = np.log1p(self.cv**2)
        return self.service_s * np.exp(rng.normal(-variance / 2, np.sqrt(variance), n))

    def answers(self, rng: np.random.Generator, due_s: Floats) -> Floats:
        """Seconds from when each request was due to its end."""
        free = [0.0] * self.slots  # a heap: when each slot is free again
        holds = self.holds(rng, len(due_s)).tolist()
        found = np.empty(len(due_s))
        for k, (due, hold) in enumerate(zip(due_s.tolist(), holds, strict=True)):
            end = max(due, free[0]) + hold
            heapreplace(free, end)
            found[k] = end - due
        return found


def starts(rng: np.random.Generator, rate_rps: float, seconds: float, *, poisson: bool = False) -> Floats:
    """When requests at a rate are due."""
    n = max(2, round(rate_rps * seconds))
    return np.cumsum(rng.exponential(1 / rate_rps, n)) if poisson else np.arange(n) / rate_rps
