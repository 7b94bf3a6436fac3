"""On which nights a series of numbers changed its level, looking back over all of them. Pure."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import stdtr

from storage.records import ChangePoint
from tasks.stats.nights import Floats

LEAST_NIGHTS = 4  # on each side of a change
SURE = 0.001
TINY = 1e-18
OTAVA, PLAIN = "Apache Otava (E-divisive)", "gatebench's own splits (t tests); gatebench[otava] has E-divisive"


Finder = Callable[[Sequence[float]], list[ChangePoint]]


def finder() -> tuple[Finder, str]:
    """Otava where the extra `otava` is installed, else the plain one; and its name."""
    try:
        from otava.analysis import compute_change_points  # noqa: PLC0415 - an extra
    except ImportError:
        return plain, PLAIN

    def otava(values: Sequence[float]) -> list[ChangePoint]:
        if len(values) < 2 * LEAST_NIGHTS:
            return []
        found, _ = compute_change_points([float(value) for value in values], max_pvalue=SURE)
        return [ChangePoint(int(p.index), float(p.stats.mean_1), float(p.stats.mean_2)) for p in found]

    return otava, OTAVA


def plain(values: Sequence[float]) -> list[ChangePoint]:
    """The stretch of nights that differs most from all others by t on the logarithm, if it is sure for all stretches
    tried (Bonferroni): its two ends are changes; then each part by itself (circular binary segmentation, Olshen and
    others 2004, with a t test in place of permutations). Values above 0."""
    logs = np.log(np.asarray(values, dtype=float))
    at = sorted(_splits(logs, 0, len(logs)))
    edges = [0, *at, len(logs)]
    means = [float(np.exp(logs[i:j].mean())) for i, j in itertools.pairwise(edges)] if at else []
    return [ChangePoint(index, means[k], means[k + 1]) for k, index in enumerate(at)]


def _splits(logs: Floats, start: int, end: int) -> list[int]:
    n = end - start
    if n < 2 * LEAST_NIGHTS:
        return []
    i, j, t, tried = _stretch(logs[start:end])
    if not tried or 2 * float(stdtr(n - 2, -t)) * tried >= SURE:
        return []
    inner = [start + k for k in (i, j) if 0 < k < n]
    edges = [start, *inner, end]
    return inner + [k for a, b in itertools.pairwise(edges) for k in _splits(logs, a, b)]


def _stretch(y: Floats) -> tuple[int, int, float, int]:
    """(i, j, |t|, stretches tried) of the nights i to j (exclusive) that differ most from the rest."""
    n = len(y)
    ends = np.array([0, *range(LEAST_NIGHTS, n - LEAST_NIGHTS + 1), n])
    a, b = np.triu_indices(len(ends), 1)
    i, j = ends[a], ends[b]
    size = j - i
    possible = (size >= LEAST_NIGHTS) & (n - size >= LEAST_NIGHTS)
    i, j, size = i[possible], j[possible], size[possible]
    if not len(i):
        return 0, n, 0.0, 0
    centred = y - y.mean()
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    inside = (sums[j] - sums[i]) / size
    between = inside**2 * size * n / (n - size)  # sum of squares that the two means explain
    left = np.maximum(float(centred @ centred) - between, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(between > TINY, np.sqrt(between / (left / (n - 2))), 0.0)
    best = int(np.argmax(t))
    return int(i[best]), int(j[best]), float(t[best]), len(i)
