"""Runs in the book: begun, changed, found again by name. Every function is one step inside a transaction."""

import difflib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb

from storage.errors import UsageError
from storage.records import Run, RunStatus, to_json

Con = duckdb.DuckDBPyConnection

INSERT = """
insert into runs (run_id, flow, plan_name, status, scheduled, started_at, started, ended_at, verdict, exit_code,
                  reason, workload_id, seed, fingerprint, plan, environment, path, report, host, pid)
values ($run_id, $flow, $plan_name, $status, $scheduled, $started_at, $started, $ended_at, $verdict, $exit_code,
        $reason, $workload_id, $seed, $fingerprint, $plan, $environment, $path, $report, $host, $pid)
"""
UPDATE = """
update runs set flow = $flow, plan_name = $plan_name, status = $status, scheduled = $scheduled,
    started_at = $started_at, started = $started, ended_at = $ended_at, verdict = $verdict, exit_code = $exit_code,
    reason = $reason, workload_id = $workload_id, seed = $seed, fingerprint = $fingerprint, plan = $plan,
    environment = $environment, path = $path, report = $report
where run_id = $run_id
"""
SELECT = """
select run_id, flow, plan_name, status, scheduled, started_at, ended_at, verdict, exit_code, reason, workload_id, seed,
       fingerprint, plan, environment, path, report
from runs
"""


def in_utc(label: str) -> datetime:
    """An ISO 8601 label as the naive UTC time that rows are ordered by."""
    return datetime.fromisoformat(label).astimezone(UTC).replace(tzinfo=None)


def insert_run(con: Con, run: Run, host: str, pid: int) -> None:
    """Raises UsageError if the book has this run already."""
    if con.execute("select 1 from runs where run_id = $run_id", {"run_id": run.run_id}).fetchone():
        raise UsageError(f"run {run.run_id} is in the book already; a new run needs a new id")
    con.execute(INSERT, {**_columns(run), "host": host, "pid": pid})


def change_run(con: Con, run_id: str, changes: dict[str, Any]) -> Run:
    """The run with these fields changed. Raises UsageError if it is unknown."""
    run = replace(find_run(con, run_id), **changes)
    con.execute(UPDATE, _columns(run))
    return run


def take_over(con: Con, run_id: str, changes: dict[str, Any], host: str, pid: int) -> Run:
    """A run that ended before its time is running again, in this process."""
    run = change_run(con, run_id, changes)
    con.execute(
        "update runs set host = $host, pid = $pid where run_id = $run_id", {"run_id": run_id, "host": host, "pid": pid}
    )
    return run


def find_run(con: Con, name: str) -> Run:
    """By id, by a prefix that only one run has, or `last`. Raises UsageError naming what there is instead."""
    row = con.execute(SELECT + "where run_id = $name", {"name": name}).fetchone()
    if row is None and name == "last":
        row = con.execute(SELECT + "order by started desc, run_id desc limit 1").fetchone()
    if row is not None:
        return _run(row)
    rows = con.execute(
        SELECT + "where $name <> '' and starts_with(run_id, $name) order by run_id limit 4", {"name": name}
    ).fetchall()
    if len(rows) == 1:
        return _run(rows[0])
    if rows:
        raise UsageError(f"{name!r} could be {', '.join(row[0] for row in rows)}; write more of the run's id")
    raise UsageError(_unknown(con, name))


def list_runs(con: Con, limit: int, flow: str | None) -> list[Run]:
    """The newest first."""
    rows = con.execute(
        SELECT + "where $flow::text is null or flow = $flow order by started desc, run_id desc limit $limit",
        {"flow": flow, "limit": limit},
    ).fetchall()
    return [_run(row) for row in rows]


def ended(con: Con) -> list[str]:
    """Ids of the runs that are not running, oldest first."""
    rows = con.execute("select run_id from runs where status <> 'running' order by started, run_id").fetchall()
    return [row[0] for row in rows]


def interrupt_dead(con: Con, host: str, alive: Callable[[int], bool], ended_at: str) -> list[str]:
    """Mark runs that are `running` on this host in a process that is no more; their ids, oldest first."""
    rows = con.execute(
        "select run_id, pid from runs where status = 'running' and host = $host order by started, run_id",
        {"host": host},
    ).fetchall()
    dead = [(run_id, pid) for run_id, pid in rows if not alive(pid)]
    for run_id, pid in dead:
        reason = f"process {pid} ended without closing the run"
        change_run(con, run_id, {"status": RunStatus.INTERRUPTED.value, "ended_at": ended_at, "reason": reason})
    return [run_id for run_id, _ in dead]


def _unknown(con: Con, name: str) -> str:
    ids = [row[0] for row in con.execute("select run_id from runs order by started desc, run_id desc").fetchall()]
    if not ids:
        return f"no run {name!r}: this book has no runs yet; `gatebench quickstart` makes the first"
    near = difflib.get_close_matches(name, ids, n=1, cutoff=0.8)
    return f"no run {name!r}; " + (f"did you mean {near[0]}?" if near else f"the most recent is {ids[0]}")


def _columns(run: Run) -> dict[str, Any]:
    return {
        **to_json(run),
        "started": in_utc(run.started_at),
        "plan": json.dumps(run.plan),
        "environment": json.dumps(run.environment),
    }


def _run(row: tuple[Any, ...]) -> Run:
    values: dict[str, Any] = dict(zip(Run.__slots__, row, strict=True))
    return Run(**{**values, "plan": json.loads(values["plan"]), "environment": json.loads(values["environment"])})
