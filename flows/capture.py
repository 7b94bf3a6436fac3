"""Logs -> a workload on disk, by itself."""

from pathlib import Path
from typing import Any, Literal

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.listen import say
from flows.refused import refused
from storage.errors import GatebenchError
from tasks.capture import capture as capture_logs
from tasks.characterise import characterise


@flow(name="capture", flow_run_name=lambda: f"capture {Path(flow_run.parameters['out']).stem}", timeout_seconds=3600)
async def capture(
    sources: list[str],
    out: str,
    format: str = "auto",
    privacy: Literal["counts", "structure", "text"] = "counts",
    mapping: str | None = None,
    spread_seed: int | None = None,
) -> State[Any]:
    """Turn gateway logs into a redacted workload, and say what it is like.

    Args:
        sources: Logs on the worker. Files, folders or globs, as absolute paths.
        out: Parquet file to write, as an absolute path on the worker.
        format: Of the logs, as litellm or nginx; auto looks at the first lines.
        privacy: What is kept. counts keeps sizes and times only, structure also who shares a session, text the prompts.
        mapping: Instead of a format, which column of a table is what. For example time=created:ms,model=deployment
        spread_seed: Lay arrivals with coarse stamps out within their step, drawn with this seed; empty leaves them.
    """
    try:
        found = await capture_logs(sources, out, format, privacy, mapping or None, spread_seed)
        like = await characterise(found.path)
    except GatebenchError as error:
        return refused(error)
    say(f"captured {found.ledger} -> {found.path}")
    for note in found.notes:
        say(note)
    return Completed(
        message=found.ledger,
        data={
            "workload_id": found.workload_id,
            "path": found.path,
            "ledger": found.ledger,
            "read": found.read,
            "kept": found.kept,
            "dropped": dict(found.dropped),
            "rejects": found.rejects,
            "notes": list(found.notes),
            "words": like.words,
            "profile": like.profile,
            "exit_code": 0,
        },
    )
