"""Everything a report says about one run, gathered before the first word is written. No file is read here."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from storage.incidents import DriftNight
from storage.records import (
    CONTROL,
    Attempt,
    Calibration,
    Ceiling,
    Cell,
    Comparison,
    Cost,
    Estimate,
    GatewayFacts,
    Incident,
    Leg,
    Run,
    RunStatus,
    Series,
    SloResult,
    Sustained,
    Validity,
    Verdict,
    Word,
)
from tasks.charts.words import as_moved
from tasks.report.trend import Line

WARNING = 0.25


@dataclass(frozen=True)
class RunView:
    """`history`: rows of past nights, tonight not among them, columns night, target, series, level, metric, value
    (seconds, requests a second; for `errors` the failures), n. `profile_words`: the workload in sentences."""

    run: Run
    legs: list[Leg]
    cells: list[Cell]
    verdicts: list[Verdict]
    slo_results: list[SloResult]
    ceilings: list[Ceiling]
    calibrations: list[Calibration]
    history: pl.DataFrame | None
    profile: dict[str, Any] | None
    profile_words: str | None
    baseline_runs: list[str]
    costs: list[Cost] = field(default_factory=list)
    gateway: list[GatewayFacts] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)  # of targets side by side, the judged ones first
    fidelity: list[dict[str, Any]] = field(default_factory=list)  # reports as `fidelity.json` of the run has them
    sustained: list[Sustained] = field(default_factory=list)  # the highest rate kept up with, one a target
    incidents: list[Incident] = field(default_factory=list)  # open in the run's segments, or closed by it
    undelivered: list[str] = field(default_factory=list)  # channels that did not take the run's alert, and why
    drifts: list[DriftNight] = field(default_factory=list)  # of its segments, up to this run
    trends: list[Line] = field(default_factory=list)  # up to this run: the numbers that a page draws over the nights


def targets(view: RunView) -> list[str]:
    """Targets that were measured, in the order of the plan, and of the legs; the control left out."""
    names = [leg.target for leg in view.legs if leg.series != Series.CALIBRATION] + [cell.target for cell in view.cells]
    names += [found.target for found in view.sustained]
    planned = [target["name"] for target in view.run.plan.get("targets", ()) if target["name"] in names]
    return [name for name in dict.fromkeys([*planned, *names]) if name != CONTROL]


def first_legs(view: RunView, target: str) -> list[Leg]:
    """Legs of the first attempt against one target, calibration left out."""
    return [
        leg
        for leg in view.legs
        if leg.target == target and leg.attempt == Attempt.FIRST and leg.series != Series.CALIBRATION
    ]


def levels(view: RunView, target: str) -> list[tuple[str, int]]:
    """(series, level) of one target: the sweep's levels rising, then replay and load."""
    order = [Series.SWEEP.value, Series.REPLAY.value, Series.STRESS.value, Series.LOAD.value]
    found = {(leg.series, leg.level) for leg in first_legs(view, target)} | {
        (cell.series, cell.level) for cell in view.cells if cell.target == target and cell.attempt == Attempt.FIRST
    }
    return sorted(found, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key[1]))


def estimate(view: RunView, target: str, series: str, level: int | None, metric: str) -> Estimate | None:
    """The first measurement's estimate at one address; None if it was not measured."""
    for cell in view.cells:
        address = (cell.target, cell.series, cell.level, cell.metric)
        if cell.attempt == Attempt.FIRST and address == (target, series, level, metric):
            return cell.estimate
    return None


def validity(legs: list[Leg]) -> tuple[str, list[str]]:
    """The worst validity among legs, and every different reason once, the most frequent first."""
    order = [v.value for v in Validity]
    worst = max((leg.validity for leg in legs), key=order.index, default=Validity.VALID.value)
    reasons = Counter(reason for leg in legs for reason in leg.reasons)
    return worst, [reason for reason, _ in reasons.most_common()]


def nights(view: RunView, verdict: Verdict) -> int:
    """How many past nights a verdict was compared with."""
    history = view.history
    if history is None or history.is_empty():
        return len(view.baseline_runs)
    rows = history.filter(
        (pl.col("target") == verdict.target)
        & (pl.col("series") == verdict.series)
        & (pl.col("metric") == verdict.metric)
    )
    if verdict.level is not None:
        rows = rows.filter(pl.col("level") == verdict.level)
    return rows["night"].n_unique() if rows.height else len(view.baseline_runs)


def word(view: RunView) -> Word | None:
    """The run's verdict; None if it was not judged."""
    return Word(view.run.verdict) if view.run.verdict in set(Word) else None


def changed(view: RunView) -> list[Verdict]:
    """Verdicts that say something moved, the worst first: regressed, improved, then what may have moved."""
    order = {Word.REGRESSED.value: 0, Word.IMPROVED.value: 1, Word.INCONCLUSIVE.value: 2}
    moved = [v for v in view.verdicts if v.verdict in order and (v.verdict != Word.INCONCLUSIVE or _may_have_moved(v))]

    def worst(v: Verdict) -> tuple[int, bool, float, bool]:
        return order[v.verdict], v.level is None, -round(abs(v.effect or 0.0), 1), v.metric != "latency_p95"

    return sorted(moved, key=worst)


def _may_have_moved(verdict: Verdict) -> bool:
    """A candidate nobody confirmed, or a change so large that it is worth a warning before a gate can speak."""
    return verdict.effect is not None and (verdict.reason == "candidate" or abs(verdict.effect) >= WARNING)


def broken(view: RunView) -> list[SloResult]:
    """Objectives that were not met, and those that had nothing to judge them by."""
    return [result for result in view.slo_results if result.ok is not True]


def tone(view: RunView) -> str:
    """How a page colours the verdict: `bad`, `warn`, `good` or `quiet`."""
    said = word(view)
    if said is Word.REGRESSED or any(result.ok is False for result in view.slo_results):
        return "bad"
    if said is Word.INVALID or view.run.status not in (RunStatus.COMPLETED, RunStatus.RUNNING):
        return "warn"
    if said is Word.INCONCLUSIVE or broken(view):
        return "warn"
    return "good" if said is not None else "quiet"


def moved_effect(verdict: Verdict) -> tuple[float, float | None, float | None] | None:
    """(effect, lower, upper) as the change of the metric itself: minus is less, whether that is good or bad."""
    if verdict.effect is None:
        return None
    point = as_moved(verdict.metric, verdict.effect)
    if verdict.lower is None or verdict.upper is None:
        return point, None, None
    ends = sorted((as_moved(verdict.metric, verdict.lower), as_moved(verdict.metric, verdict.upper)))
    return point, ends[0], ends[1]


def moved_by(view: RunView, verdict: Verdict) -> float | None:
    """The change in the metric's own unit (seconds, a second): tonight − tonight / (1 + effect)."""
    tonight = estimate(view, verdict.target, verdict.series, verdict.level, verdict.metric)
    effect = moved_effect(verdict)
    if tonight is None or effect is None or effect[0] <= -1:
        return None
    return tonight.point - tonight.point / (1 + effect[0])
