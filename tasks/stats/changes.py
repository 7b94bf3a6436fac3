"""On which nights a series of numbers changed its level, looking back over all of them. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from tasks.stats.nights import Floats

LEAST_NIGHTS = 4  # on each side of a change
SURE = 0.001
OTAVA, PLAIN = "Apache Otava (E-divisive)", "gatebench's own splits (t tests); gatebench[otava] has E-divisive"


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """`index`: the first night after it. `before`, `after`: mean levels on its two sides."""

    index: int
    before: float
    after: float

    @property
    def effect(self) -> float:
        return self.after / self.before - 1


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
    """The split with the largest t on the logarithm, if it is sure for all splits tried (Bonferroni); then each side
    by itself. Values above 0."""
    logs = np.log(np.asarray(values, dtype=float))
    at = sorted(_splits(logs, 0, len(logs)))
    edges = [0, *at, len(logs)]
    return [
        ChangePoint(
            at[k], float(np.exp(logs[edges[k] : at[k]].mean())), float(np.exp(logs[at[k] : edges[k + 2]].mean()))
        )
        for k in range(len(at))
    ]


def _splits(logs: Floats, start: int, end: int) -> list[int]:
    tried = range(start + LEAST_NIGHTS, end - LEAST_NIGHTS + 1)
    if not tried:
        return []
    ts = [_t(logs[start:k], logs[k:end]) for k in tried]
    best = int(np.argmax(ts))
    p = 2 * float(stdtr(end - start - 2, -ts[best])) * len(tried)
    if p >= SURE:
        return []
    k = tried[best]
    return [*_splits(logs, start, k), k, *_splits(logs, k, end)]


def _t(left: Floats, right: Floats) -> float:
    """|t| of two samples with one variance; where there is no spread at all, infinite for any difference."""
    away = abs(float(left.mean() - right.mean()))
    df = len(left) + len(right) - 2
    pooled = float(((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum()) / df
    if pooled <= 0:
        return math.inf if away > 0 else 0.0
    return away / math.sqrt(pooled * (1 / len(left) + 1 / len(right)))
