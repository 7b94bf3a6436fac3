"""Where the spread of repeated measurements comes from: variance components of runs, processes in runs, and blocks in
processes.

Nested random effects by analysis of variance, for unbalanced data too: Searle, Casella & McCulloch, Variance
Components (1992), section 3.3 and appendix F.1. Intervals: each is a sum c₁·MS₁ + c₂·MS₂ + … of independent mean
squares, whose limits are recovered from theirs (Graybill & Wang 1980, where all c are positive; Zou & Donner 2008,
elsewhere).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from storage.records import Spread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Squares:
    """Mean squares (of several numbers at once: matrices) with their degrees of freedom, of runs, of processes in
    runs and of blocks in processes. E[blocks] = σe²; E[processes] = σe² + k1·σp²; E[runs] = σe² + k2·σp² + k3·σr².
    """

    runs: Floats
    processes: Floats
    blocks: Floats
    df: tuple[int, int, int]
    k1: float  # nan: no run has two processes
    k2: float
    k3: float


@dataclass(frozen=True, slots=True)
class Variance:
    """A sum of mean squares: (factor, place among runs, processes, blocks)."""

    terms: tuple[tuple[float, int], ...]


def squares(y: Floats, run: Ints, process: Ints) -> Squares:
    """`y`: (blocks, numbers); `run`, `process`: whose block it is, processes named differently in every run.

    Raises ValueError below two runs or where no process has two blocks.
    """
    (runs, n_run), (processes, n_process) = _groups(run), _groups(process)
    owner = np.array([run[process == p][0] for p in processes])  # the run of each process
    total, a, b = len(y), len(runs), len(processes)
    if a < 2 or total - b < 1:
        raise ValueError("variance components need two runs, and two blocks in a process")
    grand = y.mean(axis=0)
    of_run = np.array([y[run == r].mean(axis=0) for r in runs])
    of_process = np.array([y[process == p].mean(axis=0) for p in processes])
    within = y - of_process[np.searchsorted(processes, process)]
    between = of_process - of_run[np.searchsorted(runs, owner)]
    size = dict(zip(runs.tolist(), n_run.tolist(), strict=True))
    shared = sum(n * n / size[r] for n, r in zip(n_process.tolist(), owner.tolist(), strict=True))
    df = (a - 1, b - a, total - b)
    return Squares(
        _products(of_run - grand, n_run) / df[0],
        _products(between, n_process) / df[1] if df[1] else np.zeros((y.shape[1],) * 2),
        _products(within, np.ones(total)) / df[2],
        df,
        (total - shared) / df[1] if df[1] else math.nan,
        (shared - float((n_process**2).sum()) / total) / df[0],
        (total - float((n_run**2).sum()) / total) / df[0],
    )


def _groups(names: Ints) -> tuple[Ints, Ints]:
    found, sizes = np.unique(names, return_counts=True)
    return found, sizes


def _products(away: Floats, weight: Floats | Ints) -> Floats:
    return np.asarray((away * weight[:, None]).T @ away)


def of_block() -> Variance:
    return Variance(((1.0, 2),))


def of_process(s: Squares) -> Variance | None:
    """None: a run has one process, and their luck is the run's."""
    return None if math.isnan(s.k1) else Variance(((1 / s.k1, 1), (-1 / s.k1, 2)))


def of_run(s: Squares) -> Variance:
    if math.isnan(s.k1):
        return Variance(((1 / s.k3, 0), (-1 / s.k3, 2)))
    share = s.k2 / s.k1
    return Variance(((1 / s.k3, 0), (-share / s.k3, 1), ((share - 1) / s.k3, 2)))


def of_night(s: Squares, blocks: int) -> Variance:
    """The mean of so many blocks of one process on one night."""
    factors = [0.0, 0.0, 1.0 / blocks]
    for part in (of_run(s), of_process(s)):
        for factor, place in part.terms if part is not None else ():
            factors[place] += factor
    return Variance(tuple((factor, place) for place, factor in enumerate(factors) if abs(factor) > 1e-12))


def spread(s: Squares, what: Variance, number: int, less: float = 0.0) -> Spread:
    """Of one of the numbers, `less` a known part of the variance. A variance that comes out below 0 is 0."""
    point, below, above = -less, 0.0, 0.0
    for factor, place in what.terms:
        ms, df = float((s.runs, s.processes, s.blocks)[place][number, number]), s.df[place]
        point += factor * ms
        down, up = 1 - df / chdtri(df, TAIL), df / chdtri(df, 1 - TAIL) - 1  # its own limits, as shares of it
        below += (factor * ms * (down if factor > 0 else up)) ** 2
        above += (factor * ms * (up if factor > 0 else down)) ** 2
    ends = (point, point - math.sqrt(below), point + math.sqrt(above))
    return Spread(*(math.sqrt(max(0.0, end)) for end in ends))


def matrix(s: Squares, what: Variance) -> Floats:
    """The covariance matrix of all numbers, made possible: negative eigenvalues become 0, then each variance that was
    estimated is restored."""
    raw = sum(factor * (s.runs, s.processes, s.blocks)[place] for factor, place in what.terms)
    return possible(np.asarray(raw))


def possible(raw: Floats) -> Floats:
    values, vectors = np.linalg.eigh((raw + raw.T) / 2)
    clipped = (vectors * np.maximum(values, 0.0)) @ vectors.T
    have, want = np.diag(clipped), np.maximum(np.diag(raw), 0.0)
    scale = np.sqrt(np.divide(want, have, out=np.zeros_like(want), where=have > 0))
    return np.asarray(clipped * scale[:, None] * scale)


def root(covariance: Floats) -> Floats:
    """A matrix whose product with its own transpose it is: normal draws times it have this covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
