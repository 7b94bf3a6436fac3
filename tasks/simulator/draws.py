"""Seeded draws. Service times and faults come from streams of their own, in order of arrival, so that the same seed
and the same order of requests give the same run, and a change of faults does not change the service times."""

import math
from collections.abc import Callable, Sequence
from random import Random

from tasks.simulator.model import Distribution, Fault, FaultKind, SimConfig


class Draws:
    """The draws of one seed."""

    def __init__(self, config: SimConfig) -> None:
        self._service = Random(f"service {config.seed}")
        self._fault = Random(f"fault {config.seed}")
        self._slow = Random(f"slow {config.seed}")
        self.follow(config)

    def follow(self, config: SimConfig) -> None:
        """Take distribution and faults of a changed configuration; the streams go on where they are."""
        self.unit: Callable[[], float] = unit_draw(config.distribution, config.cv, self._service)
        self._slows = tuple(f for f in config.faults if f.kind is FaultKind.SLOW)
        self._faults = tuple(f for f in config.faults if f.kind is not FaultKind.SLOW)

    def factor(self) -> float:
        """By how much the next request is slowed; 1.0: not."""
        if not self._slows:
            return 1.0
        fault = pick(self._slows, self._slow.random())
        return 1.0 if fault is None else fault.factor

    def fault(self) -> Fault | None:
        """What goes wrong with the next request, slowness apart."""
        return pick(self._faults, self._fault.random()) if self._faults else None


def pick(faults: Sequence[Fault], u: float) -> Fault | None:
    """Shares laid end to end on [0, 1): the one that `u` falls into."""
    for fault in faults:
        u -= fault.share
        if u < 0:
            return fault
    return None


def unit_draw(distribution: Distribution, cv: float, rng: Random) -> Callable[[], float]:
    """A draw of mean 1. Lognormal: sigma^2 = ln(1 + cv^2), mu = -sigma^2 / 2, so that exp(mu + sigma^2 / 2) = 1."""
    if distribution is Distribution.EXPONENTIAL:
        return lambda: rng.expovariate(1.0)
    if distribution is Distribution.LOGNORMAL:
        variance = math.log1p(cv * cv)
        mu, sigma = -variance / 2, math.sqrt(variance)
        return lambda: rng.lognormvariate(mu, sigma)
    return lambda: 1.0
