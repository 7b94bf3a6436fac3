"""The book: everything that is needed to judge a night, in one DuckDB file. Each method is one short transaction."""

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl

from storage import answers, comparisons, dump, memory, notes, results, runs, segments, sustained
from storage.connection import Connection
from storage.disk import write_aside
from storage.journal import MEMORY, Journal
from storage.memory import BaselineEntry
from storage.notes import AlertRow, WorkloadRow
from storage.records import (
    Attempt,
    Calibration,
    Ceiling,
    Cell,
    Comparison,
    Cost,
    GatewayFacts,
    Leg,
    LogFile,
    Run,
    RunStatus,
    SloResult,
    Sustained,
    Verdict,
)
from storage.segments import Segment
from storage.watch import Watch

T = TypeVar("T")
Con = duckdb.DuckDBPyConnection


def wall_clock() -> str:
    """Now, as a label."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Book:
    """The file at `path`, made with its folder at the first use. Every method waits up to `wait_s` for a locked book.

    Raises BookLocked, NewerSchema, StorageError; UsageError for a run that is not there. A run may be named by its
    id, by a prefix that only one run has, or as `last`, wherever the argument is called `name`.
    """

    def __init__(
        self,
        path: Path,
        wait_s: float = 30.0,
        *,
        now: Callable[[], str] = wall_clock,
        host: str | None = None,
        connection: Connection | None = None,
    ) -> None:
        self.path = path
        self._now = now
        self._host = platform.node() if host is None else host
        self._connection = connection or Connection(path, wait_s)
        self._journal = Journal(path.with_name("journal.jsonl"))
        self.watch = Watch(self._do, self._note, now)  # incidents, drift and what new segments carry over

    def _do(self, work: Callable[[Con], T]) -> T:
        return self._connection.do(work)

    def kept_open(self) -> AbstractContextManager[None]:
        """Within it many methods cost little more than one; other processes wait for the book meanwhile."""
        return self._connection.kept_open()

    def ask(self, question: Callable[[Con], T]) -> T:
        """The answer to a question that no method has: one transaction, in which nothing is to be changed."""
        return self._do(question)

    def _note(self, work: Callable[[Con], T], *tables: str) -> T:
        """The same, with the rows of these tables that it changes written down in the journal."""
        first = not self._journal.path.exists()
        result = self._connection.do(*self._journal.around(work, tables))
        if first:  # a book that is older than journals may be: what was found before then is kept as well
            for run_id in self._do(runs.ended):
                self.keep_results(run_id)
        return result

    def keep_results(self, run_id: str) -> Path | None:
        """All that the book holds of a run, written beside its samples; None where no files of it are."""
        folder = self.path.parent / "runs" / run_id
        if not folder.is_dir():
            return None
        text = self._do(lambda con: dump.text_of(con, run_id))
        write_aside(folder / dump.FILE, text)
        return folder / dump.FILE

    # runs

    def start_run(self, run: Run, pid: int | None = None) -> None:
        """`pid`: the process whose end means that the run was interrupted; this one, if not given."""
        owner = os.getpid() if pid is None else pid
        self._do(lambda con: runs.insert_run(con, run, self._host, owner))

    def resume_run(self, run_id: str, environment: dict[str, Any], pid: int | None = None) -> Run:
        """A run that ended before its time goes on in process `pid`: this one, if not given."""
        owner = os.getpid() if pid is None else pid
        open_again = {name: None for name in ("ended_at", "verdict", "exit_code", "reason", "report")}
        changes = {**open_again, "status": RunStatus.RUNNING.value, "environment": environment}
        return self._do(lambda con: runs.take_over(con, run_id, changes, self._host, owner))

    def update_run(self, run_id: str, **changes: Any) -> Run:
        """Change fields of Run by name. What is then known of the run is kept beside its samples too."""
        run = self._do(lambda con: runs.change_run(con, run_id, changes))
        self.keep_results(run_id)
        return run

    def finish_run(
        self,
        run_id: str,
        *,
        status: str,
        ended_at: str,
        verdict: str | None = None,
        exit_code: int | None = None,
        reason: str | None = None,
        report: str | None = None,
    ) -> Run:
        changes = {"status": status, "ended_at": ended_at, "verdict": verdict, "exit_code": exit_code, "reason": reason}
        kept = {} if report is None else {"report": report}
        return self.update_run(run_id, **changes, **kept)

    def run(self, name: str) -> Run:
        return self._do(lambda con: runs.find_run(con, name))

    def runs(self, limit: int = 20, flow: str | None = None) -> list[Run]:
        """The newest first."""
        return self._do(lambda con: runs.list_runs(con, limit, flow))

    def mark_interrupted(self, alive: Callable[[int], bool]) -> list[str]:
        """Runs of this host that are `running` in a dead process become `interrupted`; their ids."""
        return self._do(lambda con: runs.interrupt_dead(con, self._host, alive, self._now()))

    # results; every add_… replaces what was there, so it may be repeated

    def add_legs(self, run_id: str, legs: Sequence[Leg]) -> None:
        self._do(lambda con: results.put_legs(con, run_id, legs))

    def legs(self, run_id: str) -> list[Leg]:
        return self._do(lambda con: results.get_legs(con, run_id))

    def add_cells(self, run_id: str, cells: Sequence[Cell]) -> None:
        """Replaces the cells of the attempts among `cells`."""
        self._do(lambda con: results.put_cells(con, run_id, cells))

    def cells(self, run_id: str) -> list[Cell]:
        return self._do(lambda con: results.get_cells(con, run_id))

    def add_verdicts(self, run_id: str, verdicts: Sequence[Verdict]) -> None:
        self._do(lambda con: results.put_verdicts(con, run_id, verdicts))

    def verdicts(self, run_id: str) -> list[Verdict]:
        return self._do(lambda con: results.get_verdicts(con, run_id))

    def add_slo_results(self, run_id: str, found: Sequence[SloResult]) -> None:
        self._do(lambda con: results.put_slo_results(con, run_id, found))

    def slo_results(self, run_id: str) -> list[SloResult]:
        return self._do(lambda con: results.get_slo_results(con, run_id))

    def add_ceilings(self, run_id: str, ceilings: Sequence[Ceiling]) -> None:
        self._do(lambda con: results.put_ceilings(con, run_id, ceilings))

    def ceilings(self, run_id: str) -> list[Ceiling]:
        return self._do(lambda con: results.get_ceilings(con, run_id))

    def add_calibration(self, run_id: str, calibration: Calibration) -> None:
        self._do(lambda con: results.put_calibration(con, run_id, calibration))

    def calibrations(self, run_id: str) -> list[Calibration]:
        return self._do(lambda con: results.get_calibrations(con, run_id))

    def add_costs(self, run_id: str, costs: Sequence[Cost]) -> None:
        self._do(lambda con: answers.put_costs(con, run_id, costs))

    def costs(self, run_id: str) -> list[Cost]:
        return self._do(lambda con: answers.get_costs(con, run_id))

    def add_gateway_facts(self, run_id: str, facts: Sequence[GatewayFacts]) -> None:
        self._do(lambda con: answers.put_gateway_facts(con, run_id, facts))

    def gateway_facts(self, run_id: str) -> list[GatewayFacts]:
        return self._do(lambda con: answers.get_gateway_facts(con, run_id))

    def add_comparisons(self, run_id: str, found: Sequence[Comparison]) -> None:
        self._do(lambda con: comparisons.put_comparisons(con, run_id, found))

    def comparisons(self, run_id: str) -> list[Comparison]:
        return self._do(lambda con: comparisons.get_comparisons(con, run_id))

    def add_sustained(self, run_id: str, found: Sequence[Sustained]) -> None:
        self._do(lambda con: sustained.put_sustained(con, run_id, found))

    def sustained(self, run_id: str) -> list[Sustained]:
        return self._do(lambda con: sustained.get_sustained(con, run_id))

    # beside the results

    def save_workload(
        self, name: str, workload_id: str, *, path: str, header: dict[str, Any], pinned: bool, who: str, why: str
    ) -> None:
        """A name points at one workload: saving it again moves the name."""
        row = WorkloadRow(name, workload_id, path, header, pinned, who, why, self._now())
        self._note(lambda con: notes.put_workload(con, row), "workloads")

    def workloads(self) -> list[WorkloadRow]:
        return self._do(notes.get_workloads)

    def pinned(self, name: str) -> WorkloadRow | None:
        """By name, by id, or by a prefix of the id that only one has."""
        return self._do(lambda con: notes.find_pinned(con, name))

    def remember_logs(self, plan: str, logs: Sequence[LogFile]) -> None:
        """These were read for a plan; a path that was read before is told anew."""
        self._note(lambda con: notes.put_logs(con, plan, logs, self._now()), "captured_logs")

    def logs_read(self, plan: str) -> list[LogFile]:
        return self._do(lambda con: notes.get_logs(con, plan))

    def record_alert(
        self, run_id: str, kind: str, *, channels: int, title: str, body: str, sent_at: str, error: str | None
    ) -> None:
        row = AlertRow(run_id, kind, channels, title, body, sent_at, error)
        self._note(lambda con: notes.put_alert(con, row), "alerts")

    def alerts(self, run_id: str) -> list[AlertRow]:
        return self._do(lambda con: notes.get_alerts(con, run_id))

    # memory

    def segment(
        self, run_id: str, *, target: str, series: str, workload_id: str, plan_digest: str, fingerprint: str
    ) -> Segment:
        """The segment this run is judged in; made if it is the first of its kind. A run judged again keeps its own."""
        facts = {
            "target": target,
            "series": series,
            "workload_id": workload_id,
            "plan_digest": plan_digest,
            "fingerprint": fingerprint,
        }
        return self._note(
            lambda con: segments.find_segment(con, run_id, facts, self._now()), "segments", "run_segments"
        )

    def segments(self, run_id: str | None = None) -> list[Segment]:
        """Those a run was judged in, or all."""
        if run_id is None:
            return self._do(segments.all_segments)
        return self._do(lambda con: segments.segments_of(con, run_id))

    def enter_baseline(self, segment_id: str, run_id: str, who: str, why: str) -> bool:
        """For a run that `memory.may_enter` lets in. False if it was in, or was rejected before."""
        return self._note(lambda con: memory.enter(con, segment_id, run_id, (who, why, self._now())), "baselines")

    def accept(self, name: str, who: str, why: str) -> list[Segment]:
        """See `memory.accept`: a change accepted opens the next generation, anything else joins the baseline."""

        def work(con: Con) -> list[Segment]:
            verdicts = results.get_verdicts(con, runs.find_run(con, name).run_id)
            return memory.accept(con, name, verdicts, (who, why, self._now()))

        return self._note(work, *MEMORY)

    def reject(self, name: str, who: str, why: str) -> list[str]:
        """Take a run out of every baseline; the ids of the segments."""
        return self._note(lambda con: memory.reject(con, name, (who, why, self._now())), "baselines")

    def baseline_runs(self, segment_id: str) -> list[str]:
        """Ids of the runs in the baseline, oldest first."""
        return self._do(lambda con: memory.members(con, segment_id))

    def baseline_entries(self, segment_id: str) -> list[BaselineEntry]:
        """Who said what of which run, when and why."""
        return self._do(lambda con: memory.entries(con, segment_id))

    def history(self, segment_ids: Sequence[str], *, before: str, limit: int = 30) -> pl.DataFrame:
        """The frozen anchor as rows for the gate; `before`: started_at of the run that is judged."""
        return self._do(lambda con: memory.history(con, segment_ids, before, limit))

    def tonight(self, run_id: str, *, night: int, attempt: str = Attempt.FIRST) -> pl.DataFrame:
        """One run as rows for the gate, in the same columns."""
        return self._do(lambda con: memory.tonight(con, run_id, attempt, night))
