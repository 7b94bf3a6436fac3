"""An earlier try at a run: which one it was, and whether it can go on."""

from collections.abc import Sequence
from pathlib import Path

from config.settings import Settings
from flows.ground import alive
from storage.errors import GatebenchError, NothingMeasured, UsageError
from storage.machine import environment, fingerprint
from storage.records import Run, RunStatus
from storage.store import Book
from tasks.load.leg import ENGINE_VERSION
from tasks.workload import trace

ORDER = "order"  # of the run's environment: what it was to measure
FLOW_RUNS = "flow_runs"  # the same: ids of the Prefect runs that measured it
RESUMED = "resumed"  # the same: one entry for each time that it went on
LIBRARIES = ("prefect", "httpx", "httptools", "uvloop", "polars", "duckdb", "altair", "numpy", "scipy", "orjson")


def earlier_try(runs: Sequence[Run], flow_run: str | None) -> Run | None:
    """The newest run that this Prefect run has begun and not brought to its end: it crashed or was cancelled, and is
    retried. `runs`: the newest first."""
    if flow_run is None:
        return None
    found = next((run for run in runs if flow_run in run.environment.get(FLOW_RUNS, ())), None)
    return None if found is None or found.status == RunStatus.COMPLETED else found


def to_resume(name: str, book: Book, settings: Settings) -> Run:
    """The run of this name, if it can go on. Raises UsageError."""
    book.mark_interrupted(alive)
    run = book.run(name)
    reason = "it is still being measured" if run.status == RunStatus.RUNNING else why_not(run, settings)
    if reason is not None:
        raise UsageError(f"run {run.run_id} cannot go on: {reason}")
    return run


def why_not(run: Run, settings: Settings) -> str | None:
    """Why a run cannot go on where it stopped; None: it can, if nobody measures it."""
    if run.status == RunStatus.COMPLETED:
        return "it is whole"
    if ORDER not in run.environment:
        return "it was begun by a version that kept no record of what was to come"
    if run.exit_code == NothingMeasured.exit_code:
        return "not one of its requests succeeded; a new run is as good"
    facts = environment(home=settings.home_path, packages=LIBRARIES, engine_version=ENGINE_VERSION)
    if fingerprint(facts) != run.fingerprint or facts["host"] != run.environment.get("host"):
        return "this machine or gatebench is another than it began with; both halves would not be one measurement"
    return _why_no_workload(run)


def _why_no_workload(run: Run) -> str | None:
    path = Path(str(run.environment["workload_path"]))
    try:
        same = trace.read(path).id == run.workload_id
    except GatebenchError as error:
        return str(error)
    return None if same else f"its workload {path} has changed since"
