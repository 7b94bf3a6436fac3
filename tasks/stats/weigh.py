"""One rate that was tried in an open loop -> did the target keep up with it, and if not, what did not hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from storage.records import Cell, Estimate, Failure, Leg, Phase, RateProbe, Slo, Validity
from tasks.stats import metrics
from tasks.stats.growth import Growth, growth
from tasks.stats.metrics import NS
from tasks.stats.quantiles import type8
from tasks.stats.slo import broken

GIVEN_UP = "max_in_flight"  # how a leg is stopped that had too many requests under way


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rate must hold: share of it that is finished; share of requests that may fail, where no objective says."""

    achieved: float = 0.98
    errors: float = 0.01


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of the leg's measured requests: n, those that failed at once, rate-limited and slow ones apart."""

    n: int
    quick: int
    limited: int
    slow: int
    growth: Growth | None
    p95_s: float | None

    def share(self, count: int) -> float:
        return count / self.n if self.n else 0.0


def probes(
    samples: pl.LazyFrame, legs: Sequence[Leg], cells: Sequence[Cell], slos: Sequence[Slo], limits: Limits
) -> list[RateProbe]:
    """Of the legs given, in order. `cells`: their estimates, which an invalid or stopped leg has none of."""
    rows = samples.filter((pl.col("phase") == Phase.MEASURED) & pl.col("leg_id").is_in([leg.leg_id for leg in legs]))
    wanted = rows.select("leg_id", "intended_ns", "end_ns", "failure").collect()
    found = []
    for leg in sorted(legs, key=lambda one: one.level):
        place = (leg.attempt, leg.target, leg.series, leg.level)
        estimates = {c.metric: c.estimate for c in cells if (c.attempt, c.target, c.series, c.level) == place}
        found.append(weigh(wanted.filter(pl.col("leg_id") == leg.leg_id), leg, estimates, slos, limits))
    return found


def weigh(
    rows: pl.DataFrame, leg: Leg, estimates: dict[str, Estimate], slos: Sequence[Slo], limits: Limits
) -> RateProbe:
    """`rows`: intended_ns, end_ns and failure of the leg's measured requests; `estimates`: of the leg, by metric."""
    seen = _look(rows)
    offered = _offered(rows, leg)
    sustained, limit, why = _judge(seen, leg, estimates, slos, limits)
    grown = seen.growth
    return RateProbe(
        target=leg.target,
        step=leg.level,
        rate_rps=offered,
        achieved_rps=offered * (1.0 if grown is None else grown.share),
        growth=0.0 if grown is None else grown.slope,
        error=0.0 if grown is None else grown.error,
        errors=seen.share(seen.quick + seen.limited + seen.slow),
        latency_p95_s=seen.p95_s,
        n=seen.n,
        sustained=sustained,
        limit=limit,
        why=why,
    )


def _look(rows: pl.DataFrame) -> _Seen:
    """Growth and p95 are over what ended well or too slowly: a request that fails at once waits for nothing."""
    kinds = rows.select(
        limited=(pl.col("failure") == Failure.RATE_LIMITED).fill_null(False), slow=metrics.slow, failed=~metrics.ok
    )
    limited, slow, failed = (int(kinds[name].sum()) for name in ("limited", "slow", "failed"))
    timed = rows.filter(metrics.timed).sort("intended_ns")
    due = timed["intended_ns"].to_numpy() * NS
    took = (timed["end_ns"] - timed["intended_ns"]).to_numpy() * NS
    p95 = type8(np.sort(took), 0.95)[0] if len(took) else None
    return _Seen(rows.height, failed - limited - slow, limited, slow, growth(due, took), p95)


def _offered(rows: pl.DataFrame, leg: Leg) -> float:
    """Planned, where the leg knows it: one that was given up sent the first of it only."""
    if leg.health.offered_rps is not None:
        return leg.health.offered_rps
    due = rows["intended_ns"].sort()
    span = (due[-1] - due[0]) * NS if len(due) > 1 else 0.0
    return (len(due) - 1) / span if span > 0 else 0.0


def _judge(
    seen: _Seen, leg: Leg, estimates: dict[str, Estimate], slos: Sequence[Slo], limits: Limits
) -> tuple[bool | None, str, str]:
    """(sustained, limit, why): the first that does not hold of what must."""
    reason = next(iter(leg.reasons), "")
    if leg.stopped in ("budget", "interrupted"):
        return None, "budget", reason or leg.stopped
    if (leg.validity == Validity.INVALID and leg.stopped is None) or not seen.n:
        return None, "generator", reason or "nothing was sent"
    lost = _not_held(seen, leg, estimates, slos, limits)
    return (True, "none", "kept up") if lost is None else (False, *lost)


def _not_held(
    seen: _Seen, leg: Leg, estimates: dict[str, Estimate], slos: Sequence[Slo], limits: Limits
) -> tuple[str, str] | None:
    most, grown = _errors_allowed(slos, limits), seen.growth
    limited, quick = seen.share(seen.limited), seen.share(seen.quick)
    every = seen.share(seen.quick + seen.limited + seen.slow)
    behind = grown is not None and (grown.share < limits.achieved or grown.grows)
    share = 1.0 if grown is None else grown.share
    lost = broken([slo for slo in slos if slo.quantity != "errors"], estimates, leg.series)
    what = (
        (limited > most, "quota", f"{limited:.1%} were rate-limited (429)"),
        (quick > most, "errors", f"{quick:.1%} failed"),
        (leg.stopped == GIVEN_UP, "capacity", next(iter(leg.reasons), "too many were under way")),
        (behind, "capacity", f"fell behind: {share:.1%} of it was finished"),
        (leg.stopped is not None or every > most, "errors", f"{every:.1%} failed or timed out"),
        (grown is None, "errors", "too few answers to tell whether it kept up"),
        (bool(lost), "slo", "; ".join(lost)),
    )
    return next(((limit, why) for fails, limit, why in what if fails), None)


def _errors_allowed(slos: Sequence[Slo], limits: Limits) -> float:
    said = [slo.threshold for slo in slos if slo.quantity == "errors" and slo.level is None]
    return min(said) if said else limits.errors
