"""The step that recorded arrivals were rounded to, and arrivals laid out within it."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LEAST_DISTINCT = 10  # stamps, below which a common step says nothing
SECOND_NS = 10**9
NICE_NS = [
    many * unit
    for unit in (3600 * SECOND_NS, 60 * SECOND_NS, SECOND_NS, SECOND_NS // 10, SECOND_NS // 100)
    for many in (30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)
]
COARSER = 100  # times the exact step, for one that stamps keep only nearly
NEARLY = 250  # the part of a step by which a stamp may miss it


def resolution(stamps_ns: Ints) -> int | None:
    """The largest step that every stamp falls on, counted from the first one; None below ten distinct stamps.

    A step of a round length that all of them keep to within 1/250 counts as well: Mooncake's stamps are multiples of
    three seconds, some of them a millisecond short.
    """
    distinct = np.unique(stamps_ns)
    if len(distinct) < LEAST_DISTINCT:
        return None
    since = distinct - distinct[0]
    exact = int(np.gcd.reduce(since))
    nearly = (step for step in sorted(NICE_NS, reverse=True) if step >= COARSER * exact and _keep(since, step))
    return next(nearly, exact)


def _keep(since: Ints, step: int) -> bool:
    """Are they near multiples of the step, and near so many that this is no chance?"""
    nearest = _nearest(since, step)
    missed = np.abs(since - step * nearest)
    return bool(missed.max() <= step // NEARLY) and len(np.unique(nearest)) >= LEAST_DISTINCT


def _nearest(since: Ints, step: int) -> Ints:
    return (since + step // 2) // step


def spread(stamps_ns: Ints, step_ns: int, seed: int) -> Ints:
    """Stamps that fall on steps (counted from the first), each laid at random within its step: of equal stamps as many
    uniform draws, in order, so that what was logged first stays first. `stamps_ns` sorted."""
    steps = _nearest(stamps_ns - stamps_ns[0], step_ns)
    drawn = np.random.default_rng(seed).integers(0, step_ns, len(stamps_ns))
    ordered = drawn[np.lexsort((drawn, steps))]
    return np.asarray(stamps_ns[0] + steps * step_ns + ordered, dtype=np.int64)
