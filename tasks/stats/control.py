"""What the control says of the machine tonight: how much of a move to take off, and when a night cannot be quiet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.stats.nights import Carried, Cell, Floats, Nights
from tasks.stats.rules import GateRules


@dataclass(frozen=True, slots=True)
class Luck:
    """The machine's share in what was measured, on the log scale."""

    beta: float
    past: Floats  # the control's deviation from its usual self, a night; nan: not measured
    tonight: float  # to take off tonight
    again: float  # to take off the second measurement
    carried: Floats  # as `past`, of the nights of the segment before

    def confirm_p(self, nights: int, rules: GateRules) -> float:
        """What a second measurement must reach. Where the luck that both share has not been taken off it must be the
        smaller, and smallest where the spread is the nights' own and no careful prior's."""
        if self.beta > 0:
            return rules.confirm_p
        return rules.confirm_p_young if nights < rules.many_nights else rules.confirm_p_alone


def luck(cells: Sequence[Cell], nights: Nights, rules: GateRules, carried: Carried) -> Luck:
    """beta times the control's deviation; but a control that is slower than its limit is taken off whole.

    The slope is flattened by the control's own noise, which is small beside such a move, and below `control_from`
    nights there is none: what is left of a slow machine must accuse nobody (measured: a third of all false alarms).
    A second measurement without a control (a replay's) is taken for the same machine as the first.
    """
    beta = slope(cells, nights, rules, carried)
    limit = _limit(nights, rules)

    def off(x: float) -> float:
        if math.isnan(x):
            return 0.0
        return x if limit is not None and x > limit else beta * x

    again = nights.control_tonight if math.isnan(nights.control_again) else nights.control_again
    return Luck(beta, nights.control_past, off(nights.control_tonight), off(again), carried.control_past)


def moved(nights: Nights, rules: GateRules) -> float | None:
    """The control's move as a share when it is beyond its limit: then the night is never called unchanged or improved.
    Else None."""
    x, limit = nights.control_tonight, _limit(nights, rules)
    return math.expm1(x) if limit is not None and abs(x) > limit else None


def _limit(nights: Nights, rules: GateRules) -> float | None:
    """max(3 robust sd, ln 1.05) of the control's deviation from its usual self; None without enough nights of it."""
    past = nights.control_past[~np.isnan(nights.control_past)]
    if len(past) < rules.least_nights:
        return None
    spread = 1.4826 * float(np.median(np.abs(past - np.median(past))))
    return max(rules.control_sd * spread, math.log1p(rules.control_least))


def slope(cells: Sequence[Cell], nights: Nights, rules: GateRules, carried: Carried) -> float:
    """OLS slope of the cells on the control, pooled over the cells of one target and series, clipped to [0, 1].

    Nights of the segment before count too, each about the mean of its segment. 0 below `control_from` nights and
    without a control: a slope guessed early costs more power than it saves.
    """
    if math.isnan(nights.control_tonight):
        return 0.0
    up, down = 0.0, 0.0
    for cell in cells:
        parts = [_products(cell.past, nights.control_past), _products(carried.of(cell), carried.control_past)]
        if sum(n for n, _, _ in parts) >= rules.control_from:
            up += sum(xy for _, xy, _ in parts)
            down += sum(xx for _, _, xx in parts)
    return min(1.0, max(0.0, up / down)) if down > 0 else 0.0


def _products(y: Floats, x: Floats) -> tuple[int, float, float]:
    """(nights, Σ dx·dy, Σ dx²) over the nights that have both."""
    both = ~np.isnan(y) & ~np.isnan(x)
    n = int(both.sum())
    if not n:
        return 0, 0.0, 0.0
    dx = x[both] - x[both].mean()
    return n, float(dx @ (y[both] - y[both].mean())), float(dx @ dx)


def adjust(y: Floats, x: Floats, beta: float) -> Floats:
    """y − β x, where x is the control's deviation from its usual self; a night without a control is left as it is."""
    return y - beta * np.where(np.isnan(x), 0.0, x)
