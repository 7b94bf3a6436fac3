"""A small run, written out: two levels, two blocks, one slowdown at 10 concurrent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from storage.files import polars_schema
from storage.records import (
    Calibration,
    Ceiling,
    Cell,
    Estimate,
    Leg,
    Slo,
    SloResult,
    Verdict,
)
from storage.trend import Anchor, TrendNight
from tasks.report.trend import Line
from tasks.report.view import RunView
from tests.fakes import records

RUN = records.run(
    verdict="regressed",
    exit_code=10,
    plan={"sweep": {"levels": [1, 10]}, "health": {"suspect_lag_p99_ms": 5.0, "invalid_lag_p99_ms": 20.0}},
    environment={"python": "3.11.9", "machine": {"cores": 2}},
    report="/data/runs/r7/report.html",
)


def leg(level: int, block: int, **changes: Any) -> Leg:
    return records.leg(
        **{
            "trial_id": f"gw-sweep-{level}",
            "leg_id": f"gw-sweep-{level}-{block}",
            "block": block,
            "level": level,
            "started_at": f"2026-03-08T03:3{block}:{level:02d}+00:00",
            "target_headers": {"server": "uvicorn"},
            **changes,
        }
    )


def cell(level: int, metric: str, point: float, lower: float | None = None, upper: float | None = None) -> Cell:
    return Cell("first", "gw", "sweep", level, metric, Estimate(point, lower, upper, 200, 2))


CELLS = [
    cell(1, "latency_p50", 0.042, 0.041, 0.043),
    cell(1, "latency_p95", 0.050, 0.048, 0.052),
    cell(1, "latency_p99", 0.061, 0.055, 0.068),
    cell(1, "throughput", 23.2, 22.9, 23.5),
    cell(1, "errors", 0.0, None, None),
    cell(10, "latency_p50", 0.110, 0.107, 0.113),
    cell(10, "latency_p95", 0.212, 0.201, 0.224),
    cell(10, "latency_p99", 0.260, 0.230, 0.290),
    cell(10, "throughput", 80.0, 78.0, 82.0),
    cell(10, "errors", 0.0, None, None),
]
REGRESSED = Verdict("gw", "sweep", "latency_p95", 10, 0.48, 0.41, 0.56, 1e-6, 0.09, "regressed", "confirmed")
SLOWER = Verdict("gw", "sweep", "throughput", 10, 0.25, 0.18, 0.33, 1e-4, 0.08, "regressed", "confirmed")
UNCHANGED = Verdict("gw", "sweep", "latency_p95", 1, 0.012, -0.05, 0.08, 0.4, 0.11, "unchanged", "")


def history(nights: int, level: int = 10, metric: str = "latency_p95", value: float = 0.143) -> pl.DataFrame:
    rows = [(night, "gw", "sweep", level, metric, value + night / 1000, 200) for night in range(nights)]
    return pl.DataFrame(rows, schema=["night", "target", "series", "level", "metric", "value", "n"], orient="row")


def trend_line(nights: int = 7) -> Line:
    """p95 latency at 10 concurrent over past nights that are all in the baseline, tonight last."""
    past = [
        TrendNight(
            f"r{k}", f"2026-03-0{k + 1}T03:30:00+00:00", "s-1", "gw", "sweep", "unchanged", True, 0.143 + k / 1000, True
        )
        for k in range(nights)
    ]
    tonight = TrendNight("r7", RUN.started_at, "s-1", "gw", "sweep", "regressed", True, 0.212, False, 0.201, 0.224)
    anchor = Anchor("s-1", nights, 0.146, 0.143, 0.149)
    return Line("gw", "sweep", "latency_p95", 10, [*past, tonight], None, None, [], "", anchors=[anchor])


def objective(text: str, threshold: float, point: float | None, ok: bool | None) -> SloResult:
    return SloResult(Slo(text, "p95", "latency", threshold, 10), "gw", "sweep", 10, point, ok)


VIEW = RunView(
    run=RUN,
    legs=[leg(level, block) for block in (0, 1) for level in (1, 10)],
    cells=CELLS,
    verdicts=[REGRESSED, UNCHANGED],
    slo_results=[],
    ceilings=[Ceiling("gw", Estimate(80.0, 78.0, 82.0, 200, 2), 10, True, "capacity")],
    calibrations=[Calibration(True, 0.31, 0.92, 14000.0)],
    history=history(7),
    profile=None,
    profile_words="200 requests over 10 s.",
    baseline_runs=[f"r{n}" for n in range(7)],
    trends=[trend_line()],
)


@pytest.fixture
def view() -> Callable[..., RunView]:
    """`view(verdict="unchanged", legs=[...])`: the small run with some of it replaced; fields of the run by name."""

    def make(**changes: Any) -> RunView:
        of_view = {name: value for name, value in changes.items() if name in RunView.__dataclass_fields__}
        of_run = {name: value for name, value in changes.items() if name not in of_view}
        made = replace(VIEW, **of_view)
        return replace(made, run=replace(made.run, **of_run))

    return make


@pytest.fixture
def samples() -> pl.LazyFrame:
    """100 requests at each of (level 1, block 0), (10, 0), (10, 1), and 20 of a replay; one timed out at 10."""
    rows = []
    for level, block, base in ((1, 0, 40), (10, 0, 100), (10, 1, 110)):
        for k in range(100):
            sent = k * 50_000_000
            failure = "timeout_total" if (level, block, k) == (10, 0, 99) else None
            end = sent + (base + k) * 1_000_000
            rows.append(("gw", "first", level, block, "measured", "main", sent, sent + 20_000, end, failure))
    for k in range(20):
        due = k * 100_000_000
        rows.append(("gw", "first", 0, 0, "measured", "main", due, due + 30_000, due + 60_000_000, None))
    asked = "target attempt level block phase stream_label intended_ns sent_ns end_ns failure"
    schema = {name: polars_schema()[name] for name in asked.split()}
    return pl.DataFrame(rows, schema=schema, orient="row").lazy()


@pytest.fixture
def made() -> dict[str, Any]:
    """The makers, for a test that needs its own leg, verdict or objective."""
    return {"leg": leg, "objective": objective, "history": history, "slower": SLOWER, "regressed": REGRESSED}
