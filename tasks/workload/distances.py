"""How far two workloads are from each other: each distance defined once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.workload.timing import LEAST_WINDOWS, SCALES_S, dispersion

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CORNERS = 256  # a side of the grid that the joint distance looks at
LOAD_S = 60


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one workload: arrivals in ns from its first on, rows of (input, output) tokens with -1 for unknown."""

    offsets: Ints
    pairs: Ints
    models: pl.Series


def distances(a: Facts, b: Facts, rate_scale: float) -> Iterator[tuple[str, float]]:
    """rate_ratio: of (arrivals - 1) / span, over `rate_scale`. arrival_ks: `ks` of arrival times, each as a share of
    its own span: the shape of the rate curve. gap_ks: `ks` of the seconds between arrivals. dispersion_Ns: ratio of the
    indices of dispersion of counts (`timing.dispersion`), where both have one. …_load_60s: ratio of variance / mean of
    the tokens that arrive in each whole minute, unknown ones as none."""
    spans = [facts.offsets[-1] - facts.offsets[0] for facts in (a, b)]
    rates = [(len(facts.offsets) - 1) / span for facts, span in zip((a, b), spans, strict=True)]
    yield "rate_ratio", float(rates[1] / rates[0] / rate_scale)
    yield "arrival_ks", ks(a.offsets / spans[0], b.offsets / spans[1])
    yield "gap_ks", ks(np.diff(a.offsets), np.diff(b.offsets))
    for scale in SCALES_S:
        of_a, of_b = dispersion(a.offsets, scale), dispersion(b.offsets, scale)
        if of_a and of_b is not None:
            yield f"dispersion_{scale}s", of_b / of_a
    yield "joint_ks", joint_ks(a.pairs, b.pairs)
    yield "mix_distance", mix_distance(a.models, b.models)
    for k, what in enumerate(("input", "output")):
        loads = _load_spread(a, k), _load_spread(b, k)
        if loads[0] and loads[1] is not None:
            yield f"{what}_load_60s", loads[1] / loads[0]


def _load_spread(facts: Facts, column: int) -> float | None:
    """Variance / mean of the tokens in each whole window of a minute; None below five windows or without tokens."""
    width = LOAD_S * 10**9
    windows = int(facts.offsets[-1] // width)
    if windows < LEAST_WINDOWS:
        return None
    inside = facts.offsets < windows * width
    tokens = np.maximum(facts.pairs[inside, column], 0)
    sums = np.bincount(facts.offsets[inside] // width, weights=tokens, minlength=windows)
    return float(sums.var(ddof=1) / sums.mean()) if sums.mean() > 0 else None


def facts_of(frame: pl.DataFrame) -> Facts:
    offsets = frame["offset_ns"].to_numpy()
    pairs = frame.select(pl.col("input_tokens", "output_tokens").fill_null(-1)).to_numpy()
    return Facts(offsets - offsets[0] if len(offsets) else offsets, pairs, frame["model"])


def ks(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Two-sample Kolmogorov-Smirnov distance: sup over x of |F_a(x) - F_b(x)|, F the share of values <= x
    (Smirnov, Annals of Mathematical Statistics 1948). For samples that are not empty."""
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate((a, b))
    in_a = np.searchsorted(a, both, side="right") / len(a)
    in_b = np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(in_a - in_b).max())


def joint_ks(a: Ints, b: Ints) -> float:
    """Two-dimensional KS distance of the rows (input, output): the largest difference, over corners (x, y) and the four
    quadrants around each, of the share of rows in the quadrant (Fasano & Franceschini, MNRAS 225, 1987; quadrants of
    Peacock, MNRAS 202, 1983). Corners are the pairs of at most 256 pooled quantiles of either axis, exact where an axis
    takes no more values than that; a quadrant is `<= x` or `> x`, `<= y` or `> y`."""
    axes = [_corners(np.concatenate((a[:, k], b[:, k]))) for k in (0, 1)]
    difference = _cumulative(a, axes) - _cumulative(b, axes)
    x, y = difference[:, -1:], difference[-1:, :]
    quadrants = (difference, x - difference, y - difference, difference - x - y)
    return float(max(np.abs(part).max() for part in quadrants))


def _corners(values: Ints) -> Ints:
    distinct = np.unique(values)
    if len(distinct) <= CORNERS:
        return distinct
    levels = np.linspace(0, 1, CORNERS)
    return np.unique(np.quantile(values, levels, method="higher"))


def _cumulative(pairs: Ints, axes: list[Ints]) -> Floats:
    """Share of rows with input <= axes[0][i], output <= axes[1][j]; the last corner of either axis is its maximum."""
    shape = (len(axes[0]), len(axes[1]))
    at = [np.searchsorted(axis, pairs[:, k], side="left") for k, axis in enumerate(axes)]
    counts = np.bincount(at[0] * shape[1] + at[1], minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(counts.cumsum(axis=0).cumsum(axis=1) / len(pairs), dtype=np.float64)


def mix_distance(a: pl.Series, b: pl.Series) -> float:
    """Total variation distance of the shares of models: half the sum over models of |share_a - share_b|, the least
    share of requests that would have to ask another model (Levin & Peres, Markov Chains and Mixing Times, 4.1)."""
    of_a, of_b = (dict(s.value_counts(normalize=True).iter_rows()) for s in (a, b))
    return 0.5 * float(sum(abs(of_a.get(m, 0.0) - of_b.get(m, 0.0)) for m in of_a.keys() | of_b.keys()))
