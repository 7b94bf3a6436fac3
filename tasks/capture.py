"""Logs -> workload on disk, with the row ledger and the rejects beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import State, Task, task
from prefect.client.schemas.objects import TaskRun

from storage.errors import NothingMeasured, UsageError
from tasks.workload import trace
from tasks.workload.capture import capture as read_logs
from tasks.workload.ledger import write_rejects

SALT_ENV = "GATEBENCH_SALT"


@dataclass(frozen=True, slots=True)
class CapturedFile:
    workload_id: str
    path: str
    ledger: str  # in words
    kept: int
    rejects: str | None  # path of the rejects file, absolute
    read: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason; read = kept + these
    notes: tuple[str, ...] = ()  # files left aside, coarse stamps, time zones and the like, in sentences


def capture_to(
    sources: list[str],
    out: Path,
    *,
    format: str,
    privacy: str,
    mapping: str | None = None,
    spread_seed: int | None = None,
) -> CapturedFile:
    """Read `sources`, write `out`. Raises what capturing raises: UsageError, NothingMeasured, StorageError."""
    salt = os.environ.get(SALT_ENV)
    found = read_logs(
        sources,
        format=format,
        privacy=privacy,
        salt=salt.encode() if salt else None,
        mapping=mapping,
        spread_seed=spread_seed,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    workload_id = trace.write(found.workload, out)
    beside = out.with_suffix(".rejects.jsonl")
    beside.unlink(missing_ok=True)  # of an earlier capture
    rejects = beside if found.rejects else None
    if rejects is not None:
        write_rejects(found.rejects, rejects)
    return CapturedFile(
        workload_id,
        str(out),
        found.ledger.in_words(),
        found.ledger.kept,
        str(rejects) if rejects else None,
        found.ledger.read,
        dict(found.ledger.dropped),
        found.notes,
    )


def worth_repeating(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """A file that is wrong will be wrong again: only what may be different in a moment is tried again."""
    return not isinstance(state.data, UsageError | NothingMeasured)


@task(
    name="capture",
    task_run_name="capture logs",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_repeating,
)
async def capture(
    sources: list[str],
    out: str,
    format: str,
    privacy: str,
    mapping: str | None = None,
    spread_seed: int | None = None,
) -> CapturedFile:
    return capture_to(sources, Path(out), format=format, privacy=privacy, mapping=mapping, spread_seed=spread_seed)
