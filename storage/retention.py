"""Old samples are deleted, what was found in them never: the book, manifests, results and pages stay."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from storage.disk import trouble, write_aside
from storage.runs import in_utc
from storage.store import Book

Con = duckdb.DuckDBPyConnection

NOTE = "samples-deleted.txt"
# The nights that a segment's verdicts are measured against are the first of its baseline. A run that somebody may still
# look into is one of an open incident, or the newest of its flow.
OLD = """
with anchor as (
    select run_id from baseline_members
    qualify row_number() over (partition by segment_id order by started, run_id) <= $anchor
),
suspected as (
    select unnest([opened_run, last_run, regressed_run]) as run_id from incidents
    where status in ('open', 'acknowledged')
),
newest as (
    select run_id from runs qualify row_number() over (partition by flow order by started desc, run_id desc) = 1
)
select run_id,
       case when status = 'running' then 'is running'
            when run_id in (select run_id from suspected) then 'is part of an open incident'
            when run_id in (select run_id from anchor) then 'is a night that others are compared with'
            when run_id in (select run_id from newest) then 'is the newest of its kind' end
from runs where started < $before order by started, run_id
"""


@dataclass(slots=True)
class Forgotten:
    """`runs`: whose samples are deleted now, with the bytes that it freed. `kept`: old ones whose samples stay, and
    why."""

    runs: dict[str, int] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        return sum(self.runs.values())


def forget_samples(book: Book, before: str, said: str, *, anchor: int = 30, dry_run: bool = False) -> Forgotten:
    """Delete the samples of runs that began before `before` (ISO 8601). `said`: why, as their note says. What the book
    holds of a run is written beside it first. `anchor`: as the plan's `judge.history`. Raises StorageError."""
    runs_path = book.path.parent / "runs"
    found = Forgotten()
    for run_id, reason in book.ask(lambda con: old_runs(con, before, anchor)):
        parts = list(_samples(runs_path / run_id))
        if not parts:
            continue
        if reason is not None:
            found.kept[run_id] = reason
            continue
        found.runs[run_id] = sum(part.stat().st_size for part in parts)
        if not dry_run:
            book.keep_results(run_id)
            _delete(runs_path / run_id, parts, said)
    return found


def are_forgotten(folder: Path) -> bool:
    """Were the samples of the run in this folder deleted?"""
    return (folder / NOTE).is_file()


def old_runs(con: Con, before: str, anchor: int) -> list[tuple[str, str | None]]:
    """(run, why its samples must stay) of the runs that began before, oldest first; None: they need not."""
    return [(row[0], row[1]) for row in con.execute(OLD, {"before": in_utc(before), "anchor": anchor}).fetchall()]


def _samples(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*/part-*.parquet"))
    yield from folder.glob("replayed.parquet")


def _delete(folder: Path, parts: list[Path], said: str) -> None:
    write_aside(folder / NOTE, said + "\n")
    for part in parts:
        try:
            part.unlink(missing_ok=True)
        except OSError as error:
            raise trouble(error, part) from error
