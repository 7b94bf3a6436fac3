"""How true a run's replays were to their schedule, and how like the pinned workload the newest traffic is."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task

from config.settings import Settings
from storage.errors import NothingMeasured
from storage.files import RunFiles
from storage.records import STRESS, Attempt, Leg, Phase, Series
from tasks.again import AGAIN
from tasks.synthesise import report_of
from tasks.workload import trace
from tasks.workload.fidelity import compare, sent_against_due
from tasks.workload.likeness import to_json

DAY_NS = 86_400 * 10**9


def of_replay(files: RunFiles, leg: Leg) -> dict[str, Any] | None:
    """Sent against due over the measured rows of a replay, the stress stream left out; None where nothing was sent."""
    rows = (
        files.samples(leg.leg_id)
        .filter((pl.col("phase") == Phase.MEASURED) & (pl.col("stream_label") != STRESS))
        .select("intended_ns", "sent_ns")
        .collect()
    )
    if rows.is_empty():
        return None
    found = sent_against_due(
        rows["intended_ns"].to_numpy(), rows["sent_ns"].to_numpy(), leg.scheduled, f"replay against {leg.target}"
    )
    return {"about": "replay", "target": leg.target, **to_json(found)}


def of_new_traffic(pin: Path, new: Path, name: str) -> dict[str, Any] | None:
    """The last day of newly captured traffic against the workload pinned under `name`; None where one of them is too
    small to say. `repin` in it: the command that would make the new one the pin.

    Raises UsageError for a workload that cannot be read.
    """
    source, latest = trace.read(pin), last_day(trace.read(new))
    try:
        found = compare(source, latest)
    except NothingMeasured:
        return None
    repin = f"gatebench baseline accept --workload {shlex.quote(str(new))} --name {shlex.quote(name)}"
    return {"about": "new traffic", "pin": str(pin), "new": str(new), "repin": repin, **to_json(found)}


def last_day(workload: trace.Workload) -> trace.Workload:
    """Its last 24 hours; all of one that is shorter."""
    begin = workload.header.span_ns - DAY_NS
    return workload if begin <= 0 else trace.window(workload, f"{begin / 1e9:.3f}s:")


def moved(report: dict[str, Any]) -> str | None:
    """What to say where the newest traffic is no longer like the pinned workload; None where it is."""
    return None if report["ok"] else f"the workload has moved: re-pin with `{report['repin']}`; {report['title']}"


def fidelity_of_run(files: RunFiles, workload: Path, earlier: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every report of a run, written to its folder. `earlier`: those that were made before it measured."""
    reports = list(earlier)
    made = report_of(workload, trace.read(workload).id)
    if made is not None:
        reports.append({"about": "workload", **made})
    for leg in files.legs():
        if leg.series == Series.REPLAY and leg.attempt == Attempt.FIRST:
            found = of_replay(files, leg)
            reports += [] if found is None else [found]
    if reports:
        files.write_fidelity(reports)
    return reports


@task(name="fidelity", task_run_name="fidelity", **AGAIN)
async def fidelity(run_id: str, workload: str, earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
    files = RunFiles(Settings().runs_path, run_id)
    return await asyncio.to_thread(fidelity_of_run, files, Path(workload), earlier)
