"""Logs -> workload on disk, with the row ledger and the rejects beside it."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prefect import task

from tasks.again import AGAIN
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
        salt=salt.encode(errors="surrogateescape") if salt else None,
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


@task(name="capture", task_run_name="capture logs", **{**AGAIN, "timeout_seconds": 3600})
async def capture(
    sources: list[str],
    out: str,
    format: str,
    privacy: str,
    mapping: str | None = None,
    spread_seed: int | None = None,
) -> CapturedFile:
    return await asyncio.to_thread(
        capture_to, sources, Path(out), format=format, privacy=privacy, mapping=mapping, spread_seed=spread_seed
    )
