"""Does a backlog grow while an open loop goes on? How much later responses come for each second that goes by.

A target that keeps up answers as soon at the end as at the beginning: growth 0. One that finishes c a second of r that
are due makes each request wait (r / c − 1) seconds longer for each second that went by, so that c = r / (1 + growth),
whatever its latency is and however long it takes to fill up or to drain.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECES = 10
_T = 2.262  # .975 quantile of Student's t with PIECES − 1 degrees of freedom
_LEAST = 0.005  # half of the half-width below which no rate of ours is known
# Of a random walk of variance s² a second: the step between means over neighbouring pieces of d seconds has variance
# (2/3) s² d, the slope of least squares over T seconds (6/5) s² / T. So the error is √(6/5 · 3/2) times the steps' own.
_WALK = math.sqrt(9 / 5)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Growth:
    """`slope`: seconds a second; `error`: its standard error."""

    slope: float
    error: float

    @property
    def share(self) -> float:
        """Finished / offered: 1 where it does not grow."""
        return 1 / (1 + max(0.0, self.slope))

    @property
    def grows(self) -> bool:
        """Beyond its own noise, and by more than we could have made ourselves."""
        return self.slope > max(_LEAST, _T * self.error)

    @property
    def half_width(self) -> float:
        """Of a 95 % interval of `share`, as a part of it."""
        return _T * self.error / (1 + max(0.0, self.slope))


def growth(due_s: Floats, response_s: Floats) -> Growth | None:
    """`due_s`, rising, and the seconds from then to the end of each. None for fewer than two requests a piece.

    The line of least squares through the means of PIECES equal, consecutive pieces. A backlog is a sum of what came too
    much: its heights are no independent draws, its steps from piece to piece nearly are. So the error is made from the
    steps, which for a backlog that only wavers makes it too large, never too small (see _WALK).
    """
    n = len(due_s)
    if n < 2 * PIECES:
        return None
    cut = (np.arange(PIECES) * n) // PIECES
    counts = np.diff(np.append(cut, n))
    at = np.add.reduceat(due_s, cut) / counts
    height = np.add.reduceat(response_s, cut) / counts
    centred = at - at.mean()
    width = float(centred @ centred)
    if width <= 0:
        return None
    steps = np.diff(height) / np.diff(at)
    return Growth(float(centred @ height) / width, _WALK * float(steps.std(ddof=1)) / math.sqrt(PIECES - 1))
