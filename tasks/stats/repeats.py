"""Repeated measurements of one target -> a table of numbers by block, and what its components are.

Every number is a judged metric at a level, on the log scale, throughput turned round so that up is worse, and the mean
over the levels of each metric.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import stdtrit

from storage.records import CONTROL, Attempt, Cell, Leg, NoisePart, Series, Spread, Validity
from tasks.stats import components
from tasks.stats.components import Floats, Ints, Squares
from tasks.stats.metrics import DISTRIBUTIONS
from tasks.stats.nights import CONTROL_METRIC, JUDGED
from tasks.stats.pieces import pieces
from tasks.stats.quantiles import LEAST, type8
from tasks.stats.rates import closed_rates

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WANTED = {"latency": ("p50", "p95", "p99"), "ttft": ("p95",)}
Number = tuple[str, int | None, str]  # target, level (None: the mean over levels), metric


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of one block. `sampling`: the variance it has because its requests are a sample."""

    number: Number
    y: float
    sampling: float


@dataclass(frozen=True, slots=True)
class Study:
    """`mean` and `request` (None: not known) by number; `squares` as matrices over them."""

    numbers: list[Number]
    mean: Floats
    squares: Squares
    request: Floats | None
    blocks: int  # of a night
    groups: int
    processes: int
    dropped: int


# --- from the rows of requests


def figures(samples: pl.LazyFrame, legs: Sequence[Leg]) -> dict[int, list[Figure]]:
    """By block: the judged numbers of every valid leg of a sweep that has requests enough for them."""
    known = [
        leg
        for leg in legs
        if leg.series == Series.SWEEP and leg.attempt == Attempt.FIRST and leg.validity != Validity.INVALID
    ]
    found: dict[int, list[Figure]] = {}
    if not known:
        return found
    block_of = {leg.leg_id: leg.block for leg in known}
    for row in pieces(samples, known, ()).iter_rows(named=True):
        target, level = str(row["target"]), int(row["level"])
        for metric, y, sampling in _of_leg(row, level):
            if target != CONTROL or metric == CONTROL_METRIC:
                figure = Figure((target, level, metric), y, sampling)
                found.setdefault(block_of[row["leg_id"]], []).append(figure)
    return found


def _of_leg(row: Mapping[str, object], level: int) -> Iterator[tuple[str, float, float]]:
    if not int(str(row["ok"])):
        return
    for d in DISTRIBUTIONS:
        ordered = np.asarray(row[d.name], dtype=np.float64)
        for stat in WANTED.get(d.name, ()):
            q = SHARES[stat]
            if len(ordered) >= LEAST[q] and ordered[0] > 0:
                yield f"{d.name}_{stat}", math.log(type8(ordered, q)[0]), of_quantile(ordered, q)
    latency = np.asarray(row["latency"], dtype=np.float64)
    for rate in closed_rates([dict(row)], level):
        if rate.throughput > 0 and len(latency) > 1:
            sampling = float(latency.var(ddof=1)) / (len(latency) * float(latency.mean()) ** 2)
            yield "throughput", -math.log(rate.throughput), sampling


def of_quantile(ordered: Floats, q: float) -> float:
    """Variance of the logarithm of a quantile of independent values in rising order, from the quantiles one standard
    error of the share to each side (Woodruff 1952); rough where few requests lie beyond it."""
    error = math.sqrt(q * (1 - q) / len(ordered))
    low, high = (type8(ordered, min(1.0, max(0.0, q + side * error)))[0] for side in (-1, 1))
    return ((math.log(high) - math.log(low)) / 2) ** 2


def of_blocks(found: Sequence[tuple[int, int, dict[int, list[Figure]]]], blocks: int) -> Study:
    """`found`: (run, process, figures by block), processes named differently in every run. Blocks that lack a number
    which most blocks have are dropped. Raises ValueError where too little is left."""
    rows = [(run, process, {f.number: f for f in one}) for run, process, by in found for one in by.values()]
    numbers = _usual([row[2] for row in rows])
    whole = [row for row in rows if numbers and all(number in row[2] for number in numbers)]
    if not whole:
        raise ValueError("no block is whole")
    y = np.array([[by[number].y for number in numbers] for _, _, by in whole])
    sampling = np.array([[by[number].sampling for number in numbers] for _, _, by in whole])
    run, process = (np.array([row[k] for row in whole], dtype=np.int64) for k in (0, 1))
    names, weights = with_means(numbers)
    y = y @ weights
    return Study(
        names,
        y.mean(axis=0),
        components.squares(y, run, process),
        np.sqrt(sampling).mean(axis=0) ** 2 @ weights**2,  # the root's mean: that of the variances leans upwards
        blocks,
        len(np.unique(run)),
        _most(run, process),
        len(rows) - len(whole),
    )


def _usual(blocks: Sequence[Mapping[Number, Figure]]) -> list[Number]:
    counts: dict[Number, int] = {}
    for block in blocks:
        for number in block:
            counts[number] = counts.get(number, 0) + 1
    return sorted((n for n, count in counts.items() if 2 * count > len(blocks)), key=_order)


def _most(run: Ints, process: Ints) -> int:
    return max(len(np.unique(process[run == r])) for r in np.unique(run))


def _order(number: Number) -> tuple[bool, str, int, int]:
    target, level, metric = number
    return target == CONTROL, target, JUDGED.index(metric), -1 if level is None else level


def with_means(numbers: Sequence[Number]) -> tuple[list[Number], Floats]:
    """(numbers and, of each metric with several levels, the mean over them; the weights that make these of those)."""
    names = list(numbers)
    columns = [np.eye(len(numbers))]
    for target, metric in dict.fromkeys((t, m) for t, _, m in numbers):
        mine = np.array([(t, m) == (target, metric) for t, _, m in numbers], dtype=np.float64)
        if mine.sum() > 1:
            names.append((target, None, metric))
            columns.append((mine / mine.sum())[:, None])
    return names, np.hstack(columns)


# --- from the estimates of nights


def of_nights(nights: Sequence[Iterable[Cell]], target: str) -> Study:
    """A night's estimate and its interval say how it and its blocks lie; what the requests did is part of the blocks'.
    Raises ValueError where too little is known."""
    rows = [_estimates(cells, target) for cells in nights]
    counts = [number for row in rows for number in row]
    numbers = sorted({n for n in counts if counts.count(n) * 2 > len(rows)}, key=_order)
    whole = [row for row in rows if numbers and all(number in row for number in numbers)]
    if len(whole) < 2:
        raise ValueError("fewer than two nights are whole")
    y, within, sizes = (np.array([[row[n][k] for n in numbers] for row in whole]) for k in range(3))
    blocks = round(float(np.median(sizes)))
    names, weights = with_means(numbers)
    y = y @ weights
    spread = np.diag(within.mean(axis=0) @ weights**2)
    squares = Squares(
        blocks * np.atleast_2d(np.cov(y.T)), np.zeros_like(spread), spread,
        (len(whole) - 1, 0, len(whole) * (blocks - 1)), math.nan, math.nan, float(blocks),
    )  # fmt: skip
    return Study(names, y.mean(axis=0), squares, None, blocks, len(whole), 1, len(rows) - len(whole))


def _estimates(cells: Iterable[Cell], target: str) -> dict[Number, tuple[float, float, int]]:
    """(y, variance of a block, blocks) of each judged number that has an interval."""
    found: dict[Number, tuple[float, float, int]] = {}
    for cell in cells:
        e = cell.estimate
        asked = JUDGED if cell.target == target else (CONTROL_METRIC,) if cell.target == CONTROL else ()
        if cell.attempt != Attempt.FIRST or cell.series != Series.SWEEP or cell.metric not in asked:
            continue
        if e.lower is None or e.upper is None or e.lower <= 0 or e.blocks < 2:
            continue
        half = math.log(e.upper / e.lower) / 2 / float(stdtrit(e.blocks - 1, 0.975))
        y = -math.log(e.point) if cell.metric == "throughput" else math.log(e.point)
        found[cell.target, cell.level, cell.metric] = (y, half * half * e.blocks, e.blocks)
    return found


# --- the components, number by number


def parts(study: Study, target: str) -> list[NoisePart]:
    """Of the target's numbers: the levels of a metric, then their mean."""
    mine = [k for k, (t, _, _) in enumerate(study.numbers) if t == target]
    mine.sort(key=lambda k: (JUDGED.index(study.numbers[k][2]), study.numbers[k][1] is None, study.numbers[k][1] or 0))
    return [_part(study, k) for k in mine]


def _part(study: Study, k: int) -> NoisePart:
    s = study.squares
    _, level, metric = study.numbers[k]
    block = float(s.blocks[k, k])
    request = None if study.request is None else min(float(study.request[k]), block)  # no more than there is
    process = components.of_process(s)
    return NoisePart(
        metric,
        level,
        host=components.spread(s, components.of_run(s), k),
        process=None if process is None else components.spread(s, process, k),
        block=components.spread(s, components.of_block(), k, 0.0 if request is None else request),
        request=None if request is None else Spread(math.sqrt(request), None, None),
        night=components.spread(s, components.of_night(s, study.blocks), k),
    )
