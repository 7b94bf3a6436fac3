"""What is kept beside the results: named workloads, logs that were read, sent alerts.

Each function is one step inside a transaction.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from storage.errors import UsageError
from storage.records import LogFile, to_json
from storage.rows import FROM_JSON, fill

Con = duckdb.DuckDBPyConnection

PUT_WORKLOAD = """
insert or replace into workloads (name, workload_id, path, header, pinned, who, why, saved_at)
values ($name, $workload_id, $path, $header, $pinned, $who, $why, $saved_at)
"""
SELECT_WORKLOAD = "select name, workload_id, path, header, pinned, who, why, saved_at from workloads "
PUT_LOGS = "insert or replace into captured_logs " + FROM_JSON
PUT_ALERT = """
insert into alerts (run_id, kind, channels, title, body, sent_at, error)
values ($run_id, $kind, $channels, $title, $body, $sent_at, $error)
"""


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """A workload by name. Pinned: nights are judged on it, and it changes only when somebody says so."""

    name: str
    workload_id: str  # sha256 of the arrivals
    path: str
    header: dict[str, Any]
    pinned: bool
    who: str
    why: str
    saved_at: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A message as it was sent. `error` None: every channel took it."""

    run_id: str
    kind: str
    channels: int
    title: str
    body: str
    sent_at: str
    error: str | None


def put_workload(con: Con, row: WorkloadRow) -> None:
    values = {name: getattr(row, name) for name in WorkloadRow.__slots__}
    con.execute(PUT_WORKLOAD, {**values, "header": json.dumps(row.header)})


def get_workloads(con: Con) -> list[WorkloadRow]:
    return [_workload(row) for row in con.execute(SELECT_WORKLOAD + "order by saved_at, name").fetchall()]


def find_pinned(con: Con, name: str) -> WorkloadRow | None:
    """The pinned workload of this name, or of this id or a prefix of it that only one has.

    Raises UsageError if the prefix fits several.
    """
    rows = [row for row in get_workloads(con) if row.pinned]
    for row in rows:
        if row.name == name:
            return row
    fitting = [row for row in rows if name and row.workload_id.startswith(name)]
    if len({row.workload_id for row in fitting}) > 1:
        raise UsageError(f"{name!r} could be {', '.join(row.name for row in fitting)}; write more of it, or the name")
    return fitting[-1] if fitting else None


def put_logs(con: Con, plan: str, logs: Sequence[LogFile], captured_at: str) -> None:
    said = {"plan": plan, "captured_at": captured_at}
    fill(con, PUT_LOGS, "captured_logs", [{**to_json(log), **said} for log in logs])


def get_logs(con: Con, plan: str) -> list[LogFile]:
    rows = con.execute(
        "select path, size, mtime_ns, sha256 from captured_logs where plan = $plan order by captured_at, path",
        {"plan": plan},
    ).fetchall()
    return [LogFile(*row) for row in rows]


def put_alert(con: Con, row: AlertRow) -> None:
    con.execute(PUT_ALERT, {name: getattr(row, name) for name in AlertRow.__slots__})


def get_alerts(con: Con, run_id: str) -> list[AlertRow]:
    rows = con.execute(
        "select run_id, kind, channels, title, body, sent_at, error from alerts where run_id = $run_id order by place",
        {"run_id": run_id},
    ).fetchall()
    return [AlertRow(*row) for row in rows]


def _workload(row: tuple[Any, ...]) -> WorkloadRow:
    name, workload_id, path, header, *rest = row
    return WorkloadRow(name, workload_id, path, json.loads(header), *rest)
