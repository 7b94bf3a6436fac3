"""What the gate would do on a setup whose variance components are known: nights are drawn from them, and judged by the
same `judge` that the flow calls, with the second measurement where there is a candidate.

A night is mean + run + process + mean of its blocks, each normal with its covariance over all numbers, so that what
levels and metrics share stays shared. The second measurement of a night has its run and process, and fresh blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from storage.records import CONTROL, Outlook, Word
from tasks.stats import components
from tasks.stats.components import Floats
from tasks.stats.gate import candidates, judge, overall
from tasks.stats.repeats import Number, Study
from tasks.stats.rules import GateRules

NIGHTS = (5, 10, 20, 30)
EFFECTS = tuple(float(e) for e in np.expm1(np.linspace(math.log(1.03), math.log(2.0), 24)))
SEEN = 0.9
TAIL = frozenset({"latency_p95", "latency_p99"})
REQUESTS = 1000  # a level; the gate asks only of errors how many there were


@dataclass(frozen=True, slots=True)
class World:
    """ln values by (night, number): of a history, of tonight, and of tonight once more."""

    past: Floats
    tonight: Floats
    again: Floats


@dataclass(frozen=True, slots=True)
class Source:
    """Where nights are drawn from; the numbers of levels alone, the mean over levels follows."""

    numbers: list[Number]
    mean: Floats
    kept: Floats  # root of the covariance that a night's two measurements share
    fresh: Floats  # root of that of a measurement's blocks


def source(study: Study) -> Source:
    mine = [k for k, (_, level, _) in enumerate(study.numbers) if level is not None]
    s = study.squares
    parts = [components.of_run(s), components.of_process(s)]
    kept = sum(components.matrix(s, part) for part in parts if part is not None)
    fresh = components.matrix(s, components.of_block()) / study.blocks
    at = np.ix_(mine, mine)
    return Source(
        [study.numbers[k] for k in mine],
        study.mean[mine],
        components.root(np.asarray(kept)[at]),
        components.root(fresh[at]),
    )


def draw(found: Source, rng: np.random.Generator, nights: int) -> World:
    size = len(found.mean)
    kept = rng.standard_normal((nights + 1, size)) @ found.kept.T
    fresh = rng.standard_normal((nights + 2, size)) @ found.fresh.T
    return World(
        found.mean + kept[:-1] + fresh[:nights],
        found.mean + kept[-1] + fresh[nights],
        found.mean + kept[-1] + fresh[-1],
    )


def outlook(
    study: Study,
    *,
    rng: np.random.Generator,
    rules: GateRules = GateRules(),  # noqa: B008 - frozen
    nights: Sequence[int] = NIGHTS,
    quiet: int = 400,
    changed: int = 80,
) -> list[Outlook]:
    """`quiet`, `changed`: nights simulated for a share of false alarms, and for one effect."""
    found = source(study)
    worlds = [draw(found, rng, max(nights)) for _ in range(max(quiet, changed))]
    everything, tail = _shape(found, None), _shape(found, TAIL)
    made = []
    for n in nights:
        alarms = [_regressed(found, world, n, 0.0 * everything, rules) for world in worlds[:quiet]]
        share = float(np.mean(alarms))
        error = math.sqrt(max(share * (1 - share), 1 / len(alarms)) / len(alarms))
        some = worlds[:changed]
        made.append(
            Outlook(
                n, share, error, _smallest(found, some, n, everything, rules), _smallest(found, some, n, tail, rules)
            )
        )
    return made


def _shape(found: Source, metrics: frozenset[str] | None) -> Floats:
    """1 where an effect is laid on: the control never changes."""
    return np.array([float(t != CONTROL and (metrics is None or m in metrics)) for t, _, m in found.numbers])


def _smallest(found: Source, worlds: Sequence[World], nights: int, shape: Floats, rules: GateRules) -> float | None:
    """The smallest of EFFECTS that is seen on SEEN of the nights, by bisection: a larger one is seen more often."""
    low, high = 0, len(EFFECTS)
    while low < high:
        middle = (low + high) // 2
        shift = math.log1p(EFFECTS[middle]) * shape
        seen = float(np.mean([_regressed(found, world, nights, shift, rules) for world in worlds]))
        low, high = (low, middle) if seen >= SEEN else (middle + 1, high)
    return EFFECTS[low] if low < len(EFFECTS) else None


def _regressed(found: Source, world: World, nights: int, shift: Floats, rules: GateRules) -> bool:
    past = frame(found.numbers, world.past[-nights:])
    tonight = frame(found.numbers, (world.tonight + shift)[None], first=nights)
    verdicts = judge(past, tonight, control=CONTROL, rules=rules)
    if candidates(verdicts):
        confirm = frame(found.numbers, (world.again + shift)[None], first=nights)
        verdicts = judge(past, tonight, confirm=confirm, control=CONTROL, rules=rules)
    return overall(verdicts) == Word.REGRESSED


def frame(numbers: Sequence[Number], y: Floats, *, first: int = 0) -> pl.DataFrame:
    """The gate's rows of y by (night, number), in natural units."""
    nights, size = y.shape
    sign = np.array([-1.0 if metric == "throughput" else 1.0 for _, _, metric in numbers])
    return pl.DataFrame(
        {
            "night": np.repeat(np.arange(first, first + nights), size),
            "target": [target for target, _, _ in numbers] * nights,
            "level": [level for _, level, _ in numbers] * nights,
            "metric": [metric for _, _, metric in numbers] * nights,
            "value": np.exp(sign * y).ravel(),
        }
    ).with_columns(pl.lit("sweep").alias("series"), pl.lit(REQUESTS).alias("n"))
