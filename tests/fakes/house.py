"""A book in which whole nights are measured, judged, remembered and told in a moment, as the nightly does it."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from config.plan import Plan
from config.settings import Settings
from storage.connection import open_file
from storage.records import Cell, Estimate
from storage.segments import Segment
from storage.store import Book
from tasks.alert import message_for
from tasks.judge import Judged, judge_run
from tasks.publish import view_of
from tasks.remember import remember_run
from tests.fakes.records import begun, leg

LEVELS = (10, 100)
USUAL = {"latency_p50": 0.1, "latency_p95": 0.2, "latency_p99": 0.3, "ttft_p95": 0.05, "throughput": 50.0}
FACTS = {"workload_id": "w1", "plan_digest": "p1", "fingerprint": "f1"}


class House:
    """A book, and nights measured in it: each cell is its usual value, times `factors`, times a little luck."""

    def __init__(self, home: Path, seed: int = 1) -> None:
        self.settings = Settings(home=home)
        self.book = Book(self.settings.book_path)
        self.book.runs()
        self.held = open_file(self.settings.book_path)  # DuckDB shares an open file: twenty times as quick
        self.plan = Plan.model_validate({"targets": [{"name": "gw", "url": "http://127.0.0.1:1/v1", "model": "m"}]})
        self.rng = np.random.default_rng(seed)
        self.nights: list[str] = []
        self.messages: list[str] = []  # their titles and bodies

    def night(
        self,
        factors: Mapping[str, float] | None = None,
        *,
        scheduled: bool = True,
        validity: str = "valid",
        status: str = "completed",
        confirmed: bool = True,
        facts: Mapping[str, str] = FACTS,
    ) -> str:
        """The night's verdict. `confirmed`: a second measurement shows the same."""
        k = len(self.nights)
        at = datetime(2026, 6, 1, 2, tzinfo=UTC) + timedelta(days=k)
        run_id = f"{at:%Y%m%dT%H%M%SZ}-nightly-{k:04x}"
        self.nights.append(run_id)
        plan = self.plan.model_dump(mode="json")
        self.book.start_run(begun(run_id=run_id, scheduled=scheduled, started_at=at.isoformat(), plan=plan))
        self.book.add_legs(run_id, [leg(run_id=run_id, started_at=at.isoformat(), validity=validity)])
        self._measure(run_id, "first", factors or {})
        segment = self.book.segment(run_id, target="gw", series="sweep", **facts)
        judged = judge_run(self.plan, run_id, [segment], self.settings, confirmed=False)
        if judged.candidates:
            self._measure(run_id, "confirm", (factors or {}) if confirmed else {})
            judged = judge_run(self.plan, run_id, [segment], self.settings, confirmed=True)
        self._end(run_id, at, status, segment, judged)
        return judged.verdict

    def _end(self, run_id: str, at: datetime, status: str, segment: Segment, judged: Judged) -> None:
        if status == "completed":
            kept = remember_run(run_id, [segment], judged, self.settings)
            if kept.changes:  # a retried task: nothing more happens
                assert remember_run(run_id, [segment], judged, self.settings).changes == []
        self.book.finish_run(run_id, status=status, ended_at=(at + timedelta(hours=1)).isoformat(),
                             verdict=judged.verdict, exit_code=0)  # fmt: skip
        changes = self.book.watch.changes(run_id=run_id)
        if status == "completed" and judged.verdict != "regressed" and not changes:
            return  # no kind of message: see tests/alerts
        about = [self.book.watch.incident(c.incident_id) for c in changes if c.told and c.incident_id is not None]
        message = message_for(view_of(run_id, self.settings), self.plan, changes, about)
        if message is not None:
            self.messages.append(f"{message.title}\n{message.body}")

    def _measure(self, run_id: str, attempt: str, factors: Mapping[str, float]) -> None:
        cells = [
            Cell(attempt, "gw", "sweep", level, metric, self._estimate(usual * factors.get(metric, 1.0)))
            for level in LEVELS
            for metric, usual in USUAL.items()
        ]
        errors = [Cell(attempt, "gw", "sweep", level, "errors", Estimate(0.001, 0, 0.01, 1000, 5)) for level in LEVELS]
        control = [Cell(attempt, "control", "sweep", lv, "latency_p50", self._estimate(0.04, 0.003)) for lv in LEVELS]
        self.book.add_cells(run_id, cells + errors + control)

    def _estimate(self, value: float, sd: float = 0.008) -> Estimate:
        point = value * math.exp(self.rng.normal(0, sd))
        return Estimate(point, point * 0.97, point * 1.03, 1000, 5)

    def segment(self) -> str:
        return self.book.segments(self.nights[-1])[0].segment_id

    def baseline(self) -> list[int]:
        """The nights in the baseline of the newest night's segment, by number."""
        return [self.nights.index(run) for run in self.book.baseline_runs(self.segment())]
