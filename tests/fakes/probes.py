"""Rates that were tried, written out, and rates tried against a server in virtual time."""

from typing import Any

import numpy as np

from storage.records import RateProbe
from tasks.stats.growth import growth
from tasks.stats.search import Search, next_rate
from tests.fakes.queue import Server, starts

WARMUP_S = 2.0


def tried(step: int, rate: float, limit: str = "none", **rest: Any) -> RateProbe:
    """`limit` none: kept up with; generator, budget: says nothing of the target; else: what did not hold."""
    sustained = {"none": True, "generator": None, "budget": None}.get(limit, False)
    facts: dict[str, Any] = {
        "target": "gw", "step": step, "rate_rps": rate, "achieved_rps": rate, "growth": 0.0, "error": 0.0,
        "errors": 0.0, "latency_p95_s": 0.05, "n": 1000, "sustained": sustained, "limit": limit, "why": limit,
    }  # fmt: skip
    return RateProbe(**facts | rest)


def try_rate(
    rng: np.random.Generator, server: Server, step: int, rate: float, seconds: float, *, poisson: bool = False
) -> RateProbe:
    """As an open-loop leg would see it: the first of it is warm-up, and it holds where its backlog does not grow."""
    due = starts(rng, rate, seconds + WARMUP_S, poisson=poisson)
    answers = server.answers(rng, due)
    measured = due >= WARMUP_S
    due, answers = due[measured], answers[measured]
    offered = (len(due) - 1) / (due[-1] - due[0])
    found = growth(due, answers)
    assert found is not None
    limit = "capacity" if found.share < 0.98 or found.grows else "none"
    seen = {"achieved_rps": offered * found.share, "growth": found.slope, "error": found.error, "n": len(due)}
    return tried(step, offered, limit, **seen)


def searched(rng: np.random.Generator, server: Server, search: Search, *, poisson: bool = False) -> list[RateProbe]:
    """Every rate that the search tries, 10 s or 200 requests each."""
    seconds = max(10.0, 200 / server.capacity_rps)
    found: list[RateProbe] = []
    while (rate := next_rate(found, search)) is not None:
        found.append(try_rate(rng, server, len(found) + 1, rate, seconds, poisson=poisson))
    return found
