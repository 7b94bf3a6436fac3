"""Two targets in the same interleaved blocks, in the noise of `tests.fakes.noise`."""

from dataclasses import dataclass

import numpy as np

from tasks.stats.paired import Pair
from tests.fakes.noise import (
    BASE_S,
    BLOCK_SD,
    LEVELS,
    REQUEST_AR,
    SIGMA,
    SPIKE_P,
    SPIKE_SD,
    SPIKE_SHAPE,
    SPREAD_SD,
    Floats,
    ar1,
    quantile,
)

METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")


@dataclass(frozen=True, slots=True)
class Rivals:
    """Values by (level, metric, block), in natural units: the first measurement and the second, of both targets."""

    baseline: tuple[Floats, Floats]
    candidate: tuple[Floats, Floats]

    def pairs(self, attempt: int, shift: Floats | None = None) -> list[Pair]:
        """`shift`: ln of what the candidate is slower by, by (level, metric); of throughput less."""
        moved = np.zeros((len(LEVELS), len(METRICS))) if shift is None else shift
        b, c = self.baseline[attempt], self.candidate[attempt] * np.exp(moved)[:, :, None]
        found = []
        for j, metric in enumerate(METRICS):
            found += [Pair(metric, level, b[k, j], c[k, j]) for k, level in enumerate(LEVELS)]
            means = [np.exp(np.log(side[:, j]).mean(axis=0)) for side in (b, c)]
            found.append(Pair(metric, None, means[0], means[1]))
        return found


def rivals(
    rng: np.random.Generator, *, lasting: bool = True, process_sd: float = 0.0, blocks: int = 5, requests: int = 200
) -> Rivals:
    """The host's luck is shared and falls out. What is left: P a leg, z over requests, and D and the rate of spikes,
    which a target keeps through all blocks of a level and, if `lasting`, through the second measurement too.
    `process_sd`: luck that a target's process keeps at all levels and in both measurements (its memory, its cores).
    """
    sides = []
    for _ in range(2):
        kept = _kept(rng), _kept(rng)
        luck = rng.normal(0, process_sd) if process_sd else 0.0
        fresh = [(_kept(rng), _kept(rng)) for _ in range(2)]
        sides.append(tuple(_measured(rng, kept if lasting else f, luck, blocks, requests) for f in fresh))
    return Rivals(*((side[0], side[1]) for side in sides))


def slower(d: float, at: tuple[int, ...] = LEVELS, metrics: tuple[str, ...] = METRICS) -> Floats:
    """A slowdown by the factor 1 + d, as a shift of (level, metric)."""
    shift = np.zeros((len(LEVELS), len(METRICS)))
    for level in at:
        for metric in metrics:
            sign = -1 if metric == "throughput" else 1
            shift[LEVELS.index(level), METRICS.index(metric)] = sign * np.log1p(d)
    return shift


Kept = tuple[Floats, Floats]


def _kept(rng: np.random.Generator) -> Kept:
    """(D, rate of spikes) a level."""
    n = len(LEVELS)
    return np.exp(rng.normal(0, SPREAD_SD, n)), SPIKE_P * np.exp(rng.normal(0, SPIKE_SD, n))


def _measured(rng: np.random.Generator, kept: tuple[Kept, Kept], luck: float, blocks: int, requests: int) -> Floats:
    shape = (len(LEVELS), blocks, requests)
    leg = rng.normal(0, BLOCK_SD, (*shape[:2], 1)) + luck
    latency = _requests(rng, "latency", shape, 1.0, kept[0]) + leg
    ttft = _requests(rng, "ttft", shape, 1.1, kept[1]) + 0.8 * leg
    busy = np.log(np.array(LEVELS))[:, None] - np.log(np.exp(latency).mean(axis=-1))
    found = [quantile(latency, q) for q in (0.50, 0.95, 0.99)] + [quantile(ttft, 0.95), busy]
    return np.exp(np.stack(found, axis=1))


def _requests(rng: np.random.Generator, kind: str, shape: tuple[int, ...], wide: float, kept: Kept) -> Floats:
    spread, rate = kept
    logs = ar1(rng, shape, REQUEST_AR) * (wide * SIGMA * spread)[:, None, None] + np.log(BASE_S[kind])[:, None, None]
    hit = rng.random(shape) < rate[:, None, None]
    logs[hit] += np.log1p(rng.pareto(SPIKE_SHAPE, int(hit.sum())))
    return logs
