"""What the control says of the machine tonight: how much of a move to take off, and when not to judge at all."""

import math
from collections.abc import Sequence

import numpy as np

from tasks.stats.nights import Cell, Floats, Nights
from tasks.stats.rules import GateRules


def moved(nights: Nights, rules: GateRules) -> float | None:
    """The control's move as a share when it is beyond max(3 robust sd, 5 %): then tonight tells nothing. Else None."""
    x = nights.control_tonight
    past = nights.control_past[~np.isnan(nights.control_past)]
    if math.isnan(x) or len(past) < rules.least_nights:
        return None
    centre = float(np.median(past))
    spread = 1.4826 * float(np.median(np.abs(past - centre)))
    limit = max(rules.control_sd * spread, math.log1p(rules.control_least))
    return math.expm1(x - centre) if abs(x - centre) > limit else None


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
