"""How long the legs still to come will take, by those that are done. Pure."""

from collections.abc import Iterable, Sequence

from storage.records import Leg
from tasks.load.spec import LegSpec


def seconds_left(coming: Iterable[LegSpec], done: Sequence[Leg]) -> float | None:
    """None: nothing tells it yet."""
    total = 0.0
    for spec in coming:
        seconds = seconds_of(spec, done)
        if seconds is None:
            return None
        total += seconds
    return total


def seconds_of(spec: LegSpec, done: Sequence[Leg]) -> float | None:
    """Of one leg: its schedule; else the mean of the legs of its target, series and level; else what its concurrency
    makes of the time a request took in the other legs of its target, or of any."""
    if spec.duration_s is not None:
        return spec.warmup_s + spec.duration_s
    if spec.steps:
        return spec.warmup_s + sum(seconds for _, seconds in spec.steps)
    mine = [leg for leg in done if leg.target == spec.target.name and leg.series == spec.series]
    same = [leg.duration_s for leg in mine if leg.level == spec.level]
    if same:
        return sum(same) / len(same)
    if spec.loop != "closed":
        return None
    others = [leg for leg in mine or done if leg.loop == "closed" and leg.measured and leg.level]
    if not others or not spec.level:
        return None
    a_request = sum(leg.duration_s * leg.level / leg.measured for leg in others) / len(others)
    return a_request * spec.requests / spec.level
