"""Records as a run leaves them, with the facts that matter to a test given by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.records import Cell, Estimate, Leg, Run, Verdict
from storage.store import Book
from tests.fakes import records


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "home" / "gatebench.duckdb", host="here", now=lambda: "2026-11-24T09:00:00+00:00")


@pytest.fixture
def make_run() -> Callable[..., Run]:
    def make(run_id: str = "20261101T020000Z-nightly-0001", **facts: object) -> Run:
        day = run_id[:8] if run_id[:8].isdigit() else "20261101"
        values = {
            "run_id": run_id,
            "started_at": f"{day[:4]}-{day[4:6]}-{day[6:]}T02:00:00+00:00",
            "plan": {"sweep": {"levels": [1, 10]}},
            "path": "/data/runs/" + run_id,
        }
        return records.begun(**{**values, **facts})

    return make


@pytest.fixture
def make_leg() -> Callable[..., Leg]:
    def make(leg_id: str = "first-b0-gw-10", **facts: object) -> Leg:
        values = {
            "run_id": "20261101T020000Z-nightly-0001",
            "trial_id": "first-gw-sweep-10",
            "leg_id": leg_id,
            "block": 0,
            "started_at": "2026-11-01T02:00:01+00:00",
            "duration_s": 4.5,
            "scheduled": 200,
            "rows": 215,
            "measured": 200,
            "ok": 198,
            "failed": {"http_5xx": 2},
            "target_headers": {"server": "uvicorn"},
        }
        return records.leg(**{**values, **facts})

    return make


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    def make(metric: str = "latency_p95", point: float = 0.6, **facts: object) -> Cell:
        values = {"attempt": "first", "target": "gw", "series": "sweep", "level": 10, "metric": metric}
        return Cell(**{**values, **facts}, estimate=Estimate(point, point * 0.9, point * 1.1, 1000, 5))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_verdict() -> Callable[..., Verdict]:
    def make(verdict: str = "unchanged", reason: str = "", **facts: object) -> Verdict:
        values = {"target": "gw", "series": "sweep", "metric": "latency_p95", "level": 10, "effect": 0.01}
        numbers = {"lower": -0.05, "upper": 0.07, "p": 0.4, "detectable": 0.12}
        return Verdict(**{**values, **numbers, **facts}, verdict=verdict, reason=reason)  # type: ignore[arg-type]

    return make
