"""A small run as facts: one gateway at 10 concurrent and in a replay, judged."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from storage.records import (
    Calibration,
    Ceiling,
    Cell,
    Comparison,
    Cost,
    Estimate,
    Incident,
    Leg,
    Run,
    Slo,
    SloResult,
    Verdict,
)
from tests.fakes import records

RUN = records.run(verdict="regressed", exit_code=10)
LEG = records.leg(leg_id="gw-sweep-10-0", block=0, ok=97, failed={"timeout_total": 2, "reset": 1})


def cell(metric: str, point: float, series: str = "sweep", level: int = 10, attempt: str = "first") -> Cell:
    return Cell(attempt, "gw", series, level, metric, Estimate(point, point * 0.9, None, 200, 2))


@dataclass(frozen=True)
class Found:
    run: Run = RUN
    legs: list[Leg] = field(default_factory=lambda: [LEG, replace(LEG, leg_id="gw-sweep-10-1", block=1)])
    cells: list[Cell] = field(
        default_factory=lambda: [
            cell("latency_p95", 0.212),
            cell("latency_p95", 0.250, attempt="confirm"),
            cell("throughput", 80.0),
            cell("errors", 0.03),
            cell("response_p95", 0.4, "replay", 0),
        ]
    )
    verdicts: list[Verdict] = field(
        default_factory=lambda: [
            Verdict("gw", "sweep", "latency_p95", 10, 0.48, 0.41, 0.56, 1e-6, 0.09, "regressed", "confirmed"),
            Verdict("gw", "sweep", "latency_p95", None, 0.2, None, None, None, None, "unchanged", ""),
        ]
    )
    slo_results: list[SloResult] = field(
        default_factory=lambda: [
            SloResult(Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None), "gw", "replay", 0, 0.4, True),
            SloResult(Slo('rate(errors) < 1% "x"', "rate", "errors", 0.01, None), "gw", "replay", 0, None, None),
        ]
    )
    ceilings: list[Ceiling] = field(
        default_factory=lambda: [Ceiling("gw", Estimate(80.0, 78.0, 82.0, 200, 2), 10, True, "capacity")]
    )
    calibrations: list[Calibration] = field(default_factory=lambda: [Calibration(True, 0.31, 0.92, 14000.0)])
    costs: list[Cost] = field(
        default_factory=lambda: [
            Cost("gw-sweep-10-0", "first", "gw", "sweep", 10, "m", 110, 0, 1000, 0, 500, 0.25, 0, 0, 0.0),
            Cost("gw-sweep-10-1", "first", "gw", "sweep", 10, "m", 110, 0, 1000, 0, 500, 0.5, 0, 0, 0.0),
        ]
    )
    comparisons: list[Comparison] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)


@pytest.fixture
def found() -> Callable[..., Found]:
    """`found(verdicts=[])`: the small run, some of it replaced; fields of the run by name."""

    def make(**changes: Any) -> Found:
        mine = {name: value for name, value in changes.items() if name in Found.__dataclass_fields__}
        of_run = {name: value for name, value in changes.items() if name not in mine}
        made = Found(**mine)
        return replace(made, run=replace(made.run, **of_run))

    return make


@pytest.fixture
def leg() -> Leg:
    return LEG
