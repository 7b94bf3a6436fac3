"""How a leg is dealt out to its workers. Pure; what its schedule holds is dealt out by `schedule.stripe`."""

import math
from collections.abc import Sequence
from dataclasses import replace

from tasks.load.spec import LegSpec

_BUSY = 0.5  # `auto` keeps each worker below this share of its calibrated ceiling


def wanted(spec: LegSpec, rate_rps: float | None, most: int | None) -> int:
    """Workers for a leg where the plan says auto: as many as keep each below half of the calibrated ceiling at the rate
    asked for, at most one a core; one in a closed loop, whose rate nobody knows beforehand."""
    if rate_rps is None or spec.ceiling_rps is None or spec.loop == "closed":
        return 1
    return max(1, min(most or 1, math.ceil(rate_rps / (_BUSY * spec.ceiling_rps))))


def at_most(spec: LegSpec) -> int:
    """More workers than this would have nothing to do, or nothing to spend."""
    limits = [spec.max_in_flight] if spec.loop == "open" else [spec.level, spec.requests]
    limits += [n for n in (spec.budget.requests, spec.budget.output_tokens) if n is not None]
    return max(1, min(limits))


def split(spec: LegSpec, shards: int) -> list[LegSpec]:
    """The leg's spec for each worker. Budgets, `max_in_flight` and the least number of requests that the breaker looks
    at are dealt out evenly, so that all workers together keep to the plan's; its share, its window and the wall time
    stay as they are."""
    budget, breaker = spec.budget, spec.breaker
    return [
        replace(
            spec,
            shard=k,
            shards=shards,
            max_in_flight=max(1, _part(spec.max_in_flight, k, shards)),
            breaker=replace(breaker, min_requests=math.ceil(breaker.min_requests / shards)),
            budget=replace(
                budget,
                requests=None if budget.requests is None else _part(budget.requests, k, shards),
                output_tokens=None if budget.output_tokens is None else _part(budget.output_tokens, k, shards),
                usd=None if budget.usd is None else budget.usd / shards,
            ),
        )
        for k in range(shards)
    ]


def _part(total: int, k: int, shards: int) -> int:
    return total // shards + (k < total % shards)


def busiest_rps(due_ns: Sequence[int]) -> float | None:
    """Most requests that an open loop starts in a second, or all of them in less; None where there is none."""
    most, oldest = 0, 0
    for k, at in enumerate(due_ns):
        while due_ns[oldest] <= at - 1_000_000_000:
            oldest += 1
        most = max(most, k - oldest + 1)
    return float(most) if most else None


def users_of(spec: LegSpec) -> int:
    """Closed loop: users are dealt out in turn."""
    return len(range(spec.shard, spec.level, spec.shards))


def measured_of(spec: LegSpec) -> int:
    """Closed loop: the requests after each user's first that have this worker's numbers (seq % shards == shard)."""
    first, last = spec.level, spec.level + spec.requests
    return len(range(first + (spec.shard - first) % spec.shards, last, spec.shards))


def stem(shard: int, shards: int) -> str:
    """How the names of a worker's parts begin: alone `part`, else `part-<shard>`."""
    return "part" if shards == 1 else f"part-{shard}"
