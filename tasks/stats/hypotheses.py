"""What is tested on a night: every level of every metric, and the mean over the levels of a metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from tasks.stats.control import Luck, adjust
from tasks.stats.moderate import Expected, level, mean_over_levels, with_carried
from tasks.stats.nights import Carried, Cell, Floats
from tasks.stats.rules import GateRules


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One line of the family: a level, or (level None) the mean over levels. On the log scale, up is worse."""

    series: str
    metric: str
    level: int | None
    tonight: float  # nan: not measured
    expected: Expected | None  # None: too few nights
    again: float  # nan: not measured a second time
    expected_again: Expected | None  # of the mean over those levels that were measured a second time
    confirm_p: float  # that the second measurement must reach
    nights: int
    warn: float | None  # effect against too few nights, only ever mentioned

    @property
    def effect(self) -> float:
        assert self.expected is not None
        return self.tonight - self.expected.mean

    @property
    def effect_again(self) -> float:
        assert self.expected_again is not None
        return self.again - self.expected_again.mean


def worse_p(effect: float, expected: Expected) -> float:
    """One-sided: how often an unchanged night is at least as bad."""
    return float(stdtr(expected.df, -effect / expected.sd))


def hypotheses(cells: Sequence[Cell], luck: Luck, rules: GateRules, carried: Carried) -> list[Hypothesis]:
    """Of the cells of one target and series, the machine's luck taken off. `carried`: the nights of the segment
    before, whose spread counts until the cells have nights enough of their own."""
    found: list[Hypothesis] = []
    for metric in dict.fromkeys(cell.metric for cell in cells):
        group = [cell for cell in cells if cell.metric == metric]
        lines = [_without(cell, luck, carried.of(cell)) for cell in group]
        expected = _of_levels(lines, rules.prior_cv[metric], rules)
        tests: list[tuple[int | None, _Line, Expected | None, Expected | None]]
        tests = [(cell.level, line, e, e) for cell, line, e in zip(group, lines, expected, strict=True)]
        if len(group) > 1:
            tests.append((None, *_mean(lines, expected, rules.prior_cv[metric], rules)))
        for at, line, e, again in tests:
            needed = luck.confirm_p(e.nights if e is not None else 0, rules)
            found.append(_hypothesis(group[0].series, metric, at, line, e, again, needed))
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    """y of the nights, of tonight, of the second measurement and of the nights of the segment before, the machine's
    luck taken off."""

    past: Floats
    tonight: float
    again: float
    carried: Floats


def _without(cell: Cell, luck: Luck, carried: Floats) -> _Line:
    return _Line(
        adjust(cell.past, luck.past, luck.beta),
        cell.tonight - luck.tonight,
        cell.again - luck.again,
        adjust(carried, luck.carried, luck.beta),
    )


def _of_levels(lines: Sequence[_Line], cv: float, rules: GateRules) -> list[Expected | None]:
    owns = [with_carried(line.past, line.carried, rules) for line in lines]
    known = [o.variance for o in owns if o is not None]
    peers = sum(known) / len(known) if known else 0.0
    return [level(o, peers, cv, rules) if o is not None and o.nights >= rules.least_nights else None for o in owns]


def _of_mean(lines: Sequence[_Line], cv: float, rules: GateRules) -> Expected | None:
    past = np.mean([line.past for line in lines], axis=0)
    o = with_carried(past, np.mean([line.carried for line in lines], axis=0), rules)
    return mean_over_levels(o, cv, rules) if o is not None and o.nights >= rules.least_nights else None


def _mean(
    lines: Sequence[_Line], of_levels: Sequence[Expected | None], cv: float, rules: GateRules
) -> tuple[_Line, Expected | None, Expected | None]:
    """The mean over levels; where only some were measured again, the second look is at the mean over those, on their
    own history."""
    expected = _of_mean(lines, cv, rules)
    seen = [k for k, line in enumerate(lines) if not math.isnan(line.again)]
    if len(seen) == len(lines):
        second = expected
    elif len(seen) > 1:
        second = _of_mean([lines[k] for k in seen], cv, rules)
    else:
        second = of_levels[seen[0]] if seen else None
    again = float(np.mean([lines[k].again for k in seen])) if seen else math.nan
    past, carried = (np.mean([getattr(line, name) for line in lines], axis=0) for name in ("past", "carried"))
    return _Line(past, float(np.mean([line.tonight for line in lines])), again, carried), expected, second


def _hypothesis(
    series: str,
    metric: str,
    at: int | None,
    line: _Line,
    expected: Expected | None,
    expected_again: Expected | None,
    confirm_p: float,
) -> Hypothesis:
    known = line.past[~np.isnan(line.past)]
    speaks = expected is None and len(known) and not math.isnan(line.tonight)
    warn = line.tonight - float(np.median(known)) if speaks else None
    return Hypothesis(
        series, metric, at, line.tonight, expected, line.again, expected_again, confirm_p, len(known), warn
    )
