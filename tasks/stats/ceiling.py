"""Levels -> the throughput ceiling and the knee. Never a fitted number: the highest measured, or "at least"."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from storage.records import Attempt, Ceiling, Cell, Estimate, Failure, Leg, Series, Slo, Validity

STILL_RISING = 1.05
FAILING = 0.05  # share of requests, above which failures and not capacity are the limit


def ceiling(target: str, cells: Sequence[Cell], legs: Sequence[Leg], slos: Sequence[Slo] = ()) -> Ceiling | None:
    """None without a throughput at any level. `reached` is False while the top level is still > 5 % above all below."""
    rates = _by_level(target, cells, "throughput")
    if not rates:
        return None
    levels = sorted(rates)
    best = max(levels, key=lambda level: rates[level].point)
    before = [rates[level].point for level in levels[:-1]]
    reached = bool(before) and rates[levels[-1]].point <= STILL_RISING * max(before)
    if reached:
        # The first level that is as good as the best: more users add waiting, not work.
        best = next(level for level in levels if rates[level].point * STILL_RISING >= rates[best].point)
        top = max(levels, key=lambda level: rates[level].point)
        rate = rates[top]
    else:
        rate = rates[best]
    good = _by_level(target, cells, "goodput") if slos else {}
    knee = _knee(good or rates)
    limit = _limit(target, legs, reached, best)
    if limit == "none" and good and knee is not None:
        limit = "slo"  # throughput still rises, but not what is inside the objectives
    reached = reached and limit not in ("generator", "budget")
    return Ceiling(target, rate, best, reached, limit, knee)


def next_level(target: str, cells: Sequence[Cell], legs: Sequence[Leg], extend_to: int) -> int | None:
    """Twice the top level, at most `extend_to`, while it is the top level that finished the most; None: no further."""
    found = ceiling(target, cells, legs)
    rates = _by_level(target, cells, "throughput")
    if found is None or found.reached or found.limited_by != "none" or found.concurrency != max(rates):
        return None
    top = max(leg.level for leg in legs if _looked_at(leg, target))
    return min(2 * top, extend_to) if top == max(rates) < extend_to else None


def _by_level(target: str, cells: Sequence[Cell], metric: str) -> dict[int, Estimate]:
    return {
        cell.level: cell.estimate
        for cell in cells
        if (cell.target, cell.series, cell.metric) == (target, Series.SWEEP, metric) and cell.attempt != Attempt.CONFIRM
    }


def _looked_at(leg: Leg, target: str) -> bool:
    return leg.target == target and leg.series == Series.SWEEP and leg.attempt != Attempt.CONFIRM


def _knee(rates: dict[int, Estimate]) -> int | None:
    """The last level before the rate stops rising by more than 5 %; None if it rises to the end."""
    levels = sorted(rates)
    for level, after in pairwise(levels):
        if rates[after].point <= STILL_RISING * rates[level].point:
            return level
    return None


def _limit(target: str, legs: Sequence[Leg], reached: bool, best: int) -> str:
    """What happened from the ceiling's level on; what a lower level met was no limit of this one."""
    mine = [leg for leg in legs if _looked_at(leg, target)]
    if any(leg.stopped == "budget" for leg in mine):
        return "budget"
    from_here = [leg for leg in mine if leg.level >= best]
    if any(leg.validity == Validity.INVALID and leg.stopped is None for leg in from_here):
        return "generator"
    shares = [_failed(from_here, level) for level in sorted({leg.level for leg in from_here})]
    if any(found["limited"] > FAILING for found in shares):
        return "quota"
    if any(found["other"] > FAILING for found in shares):
        return "errors"
    return "capacity" if reached else "none"


def _failed(legs: Sequence[Leg], level: int) -> Mapping[str, float]:
    """Shares of the measured requests of one level, rate-limited ones apart."""
    mine = [leg for leg in legs if leg.level == level]
    measured = max(1, sum(leg.measured for leg in mine))
    limited = sum(leg.failed.get(Failure.RATE_LIMITED, 0) for leg in mine)
    failed = sum(sum(leg.failed.values()) for leg in mine) - limited
    return {"limited": limited / measured, "other": failed / measured}
