"""Which rate to try next, until the highest one that a target keeps up with is known: rates tried -> a rate, or the
answer. Pure: the same rates tried always lead to the same next one, so an answer can be made again from disk.

Up while every rate is kept up with; down while none is; then by bisection between the highest that was and the lowest
that was not. What is found is tried once more: near the limit one trial is a matter of luck, and so a split into "kept
up" below and "did not" above is chosen that the fewest trials contradict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from storage.records import Estimate, RateProbe, Sustained

_UP = (1.1, 1.25, 1.5)  # step by step; 2 afterwards
_WIDE = 1.25  # a bracket so wide that what an overloaded target finished says more than the middle
_LOWEST = 2.0**-10  # of the first rate: below it nothing is tried
_AT_MOST_THERE = 3  # trials of one rate that contradict each other, or say nothing
_AT_MOST_OURS = 9  # trials in which we were the limit
_HALF_WIDTH = 0.01  # no rate is known better
_T = 2.262  # as of `growth`


@dataclass(frozen=True, slots=True)
class Search:
    """`start_rps`: where to begin. `max_rps` None: as high as it goes. `tolerance`: (not kept up with) / (kept up with)
    is at most 1 + this in the end. `most`: trials."""

    start_rps: float
    max_rps: float | None = None
    tolerance: float = 0.02
    most: int = 16


@dataclass(frozen=True, slots=True)
class Split:
    """`low`: the highest rate kept up with below the split; `high`: the lowest above it that was not. `tied`: the next
    higher split contradicts no more trials than this one."""

    low: RateProbe | None
    high: RateProbe | None
    tied: RateProbe | None = None  # the highest rate that was kept up with above the split


def split(probes: Sequence[RateProbe]) -> Split:
    """Among splits that the fewest trials contradict, the lowest one."""
    said = sorted((p for p in probes if p.sustained is not None), key=lambda p: (p.rate_rps, bool(p.sustained)))
    wrong = [
        sum(not p.sustained for p in said[:cut]) + sum(bool(p.sustained) for p in said[cut:])
        for cut in range(len(said) + 1)
    ]
    cut = wrong.index(min(wrong))
    low = max((p for p in said[:cut] if p.sustained), key=lambda p: p.rate_rps, default=None)
    above = said[cut:]
    high = min((p for p in above if not p.sustained), key=lambda p: p.rate_rps, default=None)
    other = [p for p in above if p.sustained] if wrong.count(min(wrong)) > 1 else []
    return Split(low, high, max(other, key=lambda p: p.rate_rps, default=None))


def next_rate(probes: Sequence[RateProbe], search: Search) -> float | None:
    """The rate to try next; None: the answer is known as well as it will be."""
    if len(probes) >= search.most or any(p.limit == "budget" for p in probes):
        return None
    found = split(probes)
    if probes and probes[-1].limit == "generator":
        return _after_ours(probes, found)
    if found.tied is not None and _tries(probes, found.tied.rate_rps, search) < _AT_MOST_THERE:
        return found.tied.rate_rps
    return _onward(probes, found, search)


def _onward(probes: Sequence[RateProbe], found: Split, search: Search) -> float | None:
    low, high = found.low, found.high
    if low is None:
        return _capped(search.start_rps, search) if high is None else _lower(high, search)
    if high is None:
        no_higher = _top(search, low) or _again_and_again([p for p in probes if p.limit == "generator"])
        return _once_more(probes, low, search) if no_higher else _higher(probes, low, search)
    narrow = high.rate_rps <= low.rate_rps * (1 + search.tolerance)
    return _once_more(probes, low, search) if narrow else _between(low, high)


def answer(target: str, probes: Sequence[RateProbe], search: Search) -> Sustained:
    """What the trials say so far."""
    found = split(probes)
    limit, why = _limit(probes, found, search)
    tried = list(probes)
    if found.low is None:
        return Sustained(target, None, False, limit, False, why, tried)
    mine = _alike(probes, found.low.rate_rps, search)
    reached = found.high is not None and limit not in ("generator", "budget")
    return Sustained(target, _estimate(mine, found.high), reached, limit, len(mine) > 1, why, tried)


def _estimate(mine: Sequence[RateProbe], high: RateProbe | None) -> Estimate:
    """What was finished a second, on average over the trials. Upwards the interval reaches to the lowest rate that was
    too much, or as far as the noise of that trial leaves room beyond it."""
    point = sum(p.achieved_rps for p in mine) / len(mine)
    noise = max(p.error for p in mine)
    lower = point * (1 - max(_HALF_WIDTH, _T * noise))
    n = sum(p.n for p in mine)
    if high is None:
        return Estimate(point, lower, None, n, len(mine), at_least=True)
    room = high.rate_rps / (1 + max(-0.5, min(0.0, high.growth - _T * high.error)))
    return Estimate(point, lower, max(room, point * (1 + _HALF_WIDTH)), n, len(mine))


def _limit(probes: Sequence[RateProbe], found: Split, search: Search) -> tuple[str, str]:
    budget = next((p for p in probes if p.limit == "budget"), None)
    if budget is not None:
        return "budget", budget.why
    ours = [p for p in probes if p.limit == "generator"]
    if found.high is not None and (found.low is not None or not ours):
        return found.high.limit, f"at {found.high.rate_rps:,.5g}/s: {found.high.why}"
    if ours and _again_and_again(ours):
        return "generator", ours[-1].why
    if not probes:
        return "none", "no rate was tried"
    if found.low is not None and _top(search, found.low):
        return "none", "it keeps up with the highest rate that was to be tried"
    return "none", "the search ended before a rate was too much"


def _again_and_again(ours: Sequence[RateProbe]) -> bool:
    """The last trials in which we were the limit came straight after one another."""
    last = ours[-_AT_MOST_THERE:]
    return len(last) == _AT_MOST_THERE and last[-1].step == last[0].step + _AT_MOST_THERE - 1


def _after_ours(probes: Sequence[RateProbe], found: Split) -> float | None:
    """A trial that says nothing of the target because of us is made again, for a busy machine may be quiet the next
    time; then lower, as long as nothing was kept up with. What was kept up with is then all that can be said."""
    ours = [p for p in probes if p.limit == "generator"]
    if not _again_and_again(ours):
        return ours[-1].rate_rps
    return ours[-1].rate_rps / 2 if found.low is None and len(ours) < _AT_MOST_OURS else None


def _lower(high: RateProbe, search: Search) -> float | None:
    finished = 0.95 * high.achieved_rps if high.limit == "capacity" else high.rate_rps / 2
    rate = min(max(finished, high.rate_rps / 8), high.rate_rps / 1.05)
    return rate if rate >= search.start_rps * _LOWEST else None


def _higher(probes: Sequence[RateProbe], low: RateProbe, search: Search) -> float:
    done = sum(bool(p.sustained) for p in probes) - 1
    return _capped(low.rate_rps * (_UP[done] if done < len(_UP) else 2.0), search)


def _between(low: RateProbe, high: RateProbe) -> float:
    if high.limit == "capacity" and high.rate_rps > _WIDE * low.rate_rps:
        guess = 0.99 * high.achieved_rps
        if low.rate_rps * 1.02 < guess < high.rate_rps / 1.02:
            return guess
    return math.sqrt(low.rate_rps * high.rate_rps)


def _once_more(probes: Sequence[RateProbe], low: RateProbe, search: Search) -> float | None:
    return None if len(_alike(probes, low.rate_rps, search)) > 1 else low.rate_rps


def _alike(probes: Sequence[RateProbe], rate: float, search: Search) -> list[RateProbe]:
    """Trials of that rate, or of a little less, that were kept up with."""
    return [p for p in probes if p.sustained and rate / (1 + search.tolerance / 2) <= p.rate_rps <= rate]


def _tries(probes: Sequence[RateProbe], rate: float, search: Search) -> int:
    near = 1 + search.tolerance / 2
    return sum(p.sustained is not None and rate / near <= p.rate_rps <= rate * near for p in probes)


def _top(search: Search, low: RateProbe) -> bool:
    return search.max_rps is not None and low.rate_rps * (1 + search.tolerance / 2) >= search.max_rps


def _capped(rate: float, search: Search) -> float:
    return rate if search.max_rps is None else min(rate, search.max_rps)
