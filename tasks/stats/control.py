"""What the control says of the machine tonight: how much of a move to take off, and when a night cannot be quiet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.stats.nights import Cell, Floats, Nights
from tasks.stats.rules import GateRules


@dataclass(frozen=True, slots=True)
class Luck:
    """The machine's share in what was measured, on the log scale."""

    beta: float
    past: Floats  # the control's deviation from its usual self, a night; nan: not measured
    tonight: float  # to take off tonight
    again: float  # to take off the second measurement

    def confirm_p(self, rules: GateRules) -> float:
        """What a second measurement must reach: less is enough where the luck that both share has been taken off."""
        return rules.confirm_p if self.beta > 0 else rules.confirm_p_alone


def luck(cells: Sequence[Cell], nights: Nights, rules: GateRules) -> Luck:
    """beta times the control's deviation; but a control that is slower than its limit is taken off whole.

    The slope is flattened by the control's own noise, which is small beside such a move, and below `control_from`
    nights there is none: what is left of a slow machine must accuse nobody (measured: a third of all false alarms).
    A second measurement without a control (a replay's) is taken for the same machine as the first.
    """
    beta = slope(cells, nights, rules)
    limit = _limit(nights, rules)

    def off(x: float) -> float:
        if math.isnan(x):
            return 0.0
        return x if limit is not None and x > limit else beta * x

    again = nights.control_tonight if math.isnan(nights.control_again) else nights.control_again
    return Luck(beta, nights.control_past, off(nights.control_tonight), off(again))


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


def slope(cells: Sequence[Cell], nights: Nights, rules: GateRules) -> float:
    """OLS slope of the cells on the control, pooled over the cells of one target and series, clipped to [0, 1].

    0 below `control_from` nights and without a control: a slope guessed early costs more power than it saves.
    """
    x = nights.control_past
    if int((~np.isnan(x)).sum()) < rules.control_from or math.isnan(nights.control_tonight):
        return 0.0
    up, down = 0.0, 0.0
    for cell in cells:
        both = ~np.isnan(cell.past) & ~np.isnan(x)
        if int(both.sum()) < rules.control_from:
            continue
        dx = x[both] - x[both].mean()
        up += float(dx @ (cell.past[both] - cell.past[both].mean()))
        down += float(dx @ dx)
    return min(1.0, max(0.0, up / down)) if down > 0 else 0.0


def adjust(y: Floats, x: Floats, beta: float) -> Floats:
    """y − β x, where x is the control's deviation from its usual self; a night without a control is left as it is."""
    return y - beta * np.where(np.isnan(x), 0.0, x)
