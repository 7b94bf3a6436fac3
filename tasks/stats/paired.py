"""Two targets in the same blocks -> how far one is from the other, with an interval over the paired blocks.

A block shares its luck between the targets, so the difference inside a block is what is known best: estimate =
exp(mean over blocks of ln candidate - ln baseline), interval ± t(.975, B - 1) · s / √B on the log scale. The interval
speaks of these blocks: luck that a process keeps through all of them is not in it, which is what `min_effect` is for.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from storage.records import Leg, Series, Validity
from tasks.stats.metrics import DISTRIBUTIONS
from tasks.stats.pieces import pieces
from tasks.stats.quantiles import LEAST, type8
from tasks.stats.rates import closed_rates

Floats = NDArray[np.float64]
QUANTILES = {"latency": ("p50", "p95", "p99"), "ttft": ("p50", "p95"), "tpot": ("p50", "p95")}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
OUTPUT = "output_tokens"  # mean of an ok answer
DOWN_IS_WORSE = frozenset({"throughput"})
LEAST_SE = 1e-9
INTERVAL, POWER = 0.975, 0.80


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of one leg, in natural units; `bound`: known only from below."""

    value: float
    n: int
    bound: bool = False


Place = tuple[str, str, int, str]  # attempt, target, level, metric
Figures = dict[Place, dict[int, Figure]]  # by block


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric at one level (None: the geometric mean over levels) of two targets, block by block."""

    metric: str
    level: int | None
    baseline: Floats
    candidate: Floats
    n: int = 0
    at_least: bool = False  # a candidate's figure is known only from below
    blind: bool = False  # a baseline's is: their ratio is known neither from below nor from above


@dataclass(frozen=True, slots=True)
class Difference:
    """ln candidate - ln baseline over the blocks, turned so that up is worse."""

    mean: float
    se: float
    df: int

    @property
    def half(self) -> float:
        return float(stdtrit(self.df, INTERVAL)) * self.se

    @property
    def ends(self) -> tuple[float, float]:
        return math.expm1(self.mean - self.half), math.expm1(self.mean + self.half)

    def p_above(self, effect: float) -> float:
        """One-sided p of the truth being `effect` or less."""
        return float(stdtr(self.df, (math.log1p(effect) - self.mean) / self.se))

    def p_below(self, effect: float) -> float:
        """One-sided p of the truth being better by `effect` or less."""
        return float(stdtr(self.df, (math.log1p(effect) + self.mean) / self.se))

    def detectable(self, effect: float) -> float:
        """The smallest truth whose interval would lie above `effect` four times out of five."""
        reach = float(stdtrit(self.df, INTERVAL) + stdtrit(self.df, POWER)) * self.se
        return math.expm1(math.log1p(effect) + reach)


def figures(samples: pl.LazyFrame, legs: Sequence[Leg]) -> Figures:
    """Every metric of every valid closed-loop leg that has requests enough for it."""
    known = [leg for leg in legs if leg.series == Series.SWEEP and leg.validity != Validity.INVALID]
    found: Figures = {}
    if not known:
        return found
    block_of = {leg.leg_id: leg.block for leg in known}
    for row in pieces(samples, known, ()).iter_rows(named=True):
        for metric, figure in _of_leg(row):
            place = (row["attempt"], row["target"], row["level"], metric)
            found.setdefault(place, {})[block_of[row["leg_id"]]] = figure
    return found


def _of_leg(row: dict[str, object]) -> Iterable[tuple[str, Figure]]:
    ok = int(str(row["ok"]))
    if not ok:
        return
    for d in DISTRIBUTIONS:
        if d.name not in QUANTILES:
            continue
        ordered, bounds = _array(row[d.name]), _array(row[f"{d.name}_bound"])
        for stat in QUANTILES[d.name]:
            if len(ordered) >= LEAST[SHARES[stat]]:
                value, at = type8(ordered, SHARES[stat])
                bound = bool(np.isin(ordered[max(at - 1, 0) : at + 1], bounds).any())
                yield f"{d.name}_{stat}", Figure(value, len(ordered), bound)
        if d.name == "latency" and len(ordered):
            yield "latency_mean", Figure(float(ordered.mean()), len(ordered), len(bounds) > 0)
    for rate in closed_rates([row], int(str(row["level"]))):
        yield "throughput", Figure(rate.throughput, ok)
    told = int(str(row["with_tokens"]))
    if told:
        yield OUTPUT, Figure(float(str(row["tokens"])) / told, told)


def _array(values: object) -> Floats:
    return np.asarray(values, dtype=np.float64)


def pairs(found: Figures, attempt: str, baseline: str, candidate: str) -> list[Pair]:
    """Of each metric that both have: each level, over the blocks that both were measured in, and where there are
    several levels their mean, over the blocks that have all of them."""
    keys = [(level, metric) for (a, target, level, metric) in found if (a, target) == (attempt, baseline)]
    made: list[Pair] = []
    for metric in dict.fromkeys(metric for _, metric in keys):
        levels = []
        for level in sorted(level for level, m in keys if m == metric):
            b = found[attempt, baseline, level, metric]
            c = found.get((attempt, candidate, level, metric), {})
            both = {k: (b[k], c[k]) for k in sorted(b.keys() & c.keys()) if b[k].value > 0 and c[k].value > 0}
            if both:
                levels.append((level, both))
        made += [_pair(metric, level, [both]) for level, both in levels]
        if len(levels) > 1:
            made.append(_pair(metric, None, [both for _, both in levels]))
    return made


def _pair(metric: str, level: int | None, levels: Sequence[dict[int, tuple[Figure, Figure]]]) -> Pair:
    whole = sorted(set.intersection(*(set(one) for one in levels)))
    used = [[one[k] for k in whole] for one in levels]
    each = [f for one in used for f in one]
    return Pair(
        metric,
        level,
        _together([[b.value for b, _ in one] for one in used]),
        _together([[c.value for _, c in one] for one in used]),
        n=sum(b.n + c.n for b, c in each),
        at_least=any(c.bound for _, c in each),
        blind=any(b.bound for b, _ in each),
    )


def _together(levels: Sequence[Sequence[float]]) -> Floats:
    return np.asarray(np.exp(np.log(np.asarray(levels, dtype=np.float64)).mean(axis=0)))


def difference(pair: Pair) -> Difference | None:
    """None below two blocks."""
    return between(pair.baseline, pair.candidate, worse_down=pair.metric in DOWN_IS_WORSE)


def between(baseline: Floats, candidate: Floats, *, worse_down: bool = False) -> Difference | None:
    blocks = len(baseline)
    if blocks < 2:
        return None
    logs = np.log(baseline) - np.log(candidate) if worse_down else np.log(candidate) - np.log(baseline)
    se = max(float(logs.std(ddof=1)) / math.sqrt(blocks), LEAST_SE)
    return Difference(float(logs.mean()), se, blocks - 1)


def apart(pair: Pair) -> tuple[float, float | None, float | None]:
    """(candidate - baseline, its interval) in the metric's own unit: the mean over blocks ± t(.975, B - 1) · s / √B."""
    away = pair.candidate - pair.baseline
    blocks = len(away)
    mean = float(away.mean())
    if blocks < 2:
        return mean, None, None
    half = float(stdtrit(blocks - 1, INTERVAL)) * float(away.std(ddof=1)) / math.sqrt(blocks)
    return mean, mean - half, mean + half
