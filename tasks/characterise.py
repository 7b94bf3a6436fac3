"""Which workload a run measures with, and what it is like."""

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import task

from storage.disk import write_aside
from storage.errors import UsageError
from storage.store import Book
from tasks.again import AGAIN
from tasks.report.profile import render_profile
from tasks.synthesise import report_of
from tasks.workload import trace
from tasks.workload.builtin import builtin
from tasks.workload.profile import profile
from tasks.workload.words import in_words


@dataclass(frozen=True, slots=True)
class Characterised:
    """A workload on disk. `path` is absolute."""

    workload_id: str
    path: str
    count: int
    words: str
    profile: dict[str, Any]


def characterise_file(path: Path) -> Characterised:
    workload = trace.read(path)
    found = profile(workload)
    return Characterised(workload.id, str(path.resolve()), len(workload), in_words(found), found.to_json())


def write_page(found: Characterised, page: Path) -> None:
    """The profile with its charts as one HTML file, and the fidelity of a synthetic workload. Raises StorageError."""
    path = Path(found.path)
    header = asdict(trace.read(path).header)
    write_aside(page, render_profile(found.profile, found.words, header, report_of(path, found.workload_id)))


def resolve(name: str, book: Book, folder: Path) -> Path:
    """A file, a pinned name, or (empty) the built-in workload, which is written to `folder` once."""
    if not name:
        path = folder / "builtin.parquet"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            trace.write(builtin(), path)
        return path
    if Path(name).is_file():
        return Path(name)
    row = book.pinned(name)
    if row is None:
        raise UsageError(
            f"no workload {name!r}: neither a file nor a pinned name; `gatebench capture LOG --out W.parquet` makes "
            "one, `gatebench baseline accept --workload W.parquet` pins it"
        )
    return Path(row.path)


def part(path: Path, window: str, out: Path) -> Path:
    """The part of a workload that a replay plays: the file itself, or its window as a file of its own."""
    if not window:
        return path
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    trace.write(trace.window(trace.read(path), window), out)
    return out


def pin(book: Book, name: str, path: Path, *, who: str, why: str) -> str:
    """Make `path` the workload that `name` stands for. Its id."""
    workload = trace.read(path)
    book.save_workload(
        name, workload.id, path=str(path.resolve()), header=asdict(workload.header), pinned=True, who=who, why=why
    )
    return workload.id


@task(name="characterise", task_run_name="characterise workload", **AGAIN)
async def characterise(path: str) -> Characterised:
    return await asyncio.to_thread(characterise_file, Path(path))
