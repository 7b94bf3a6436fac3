"""Commands that look after the book: a copy of it, the book made again, old samples deleted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.rebuild import Rebuilt


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(rebuild)
    app.command()(prune)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to write.")],
    force: Annotated[bool, typer.Option(help="Overwrite.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """A copy of the book as it is at one instant, while others go on using it. To go back to it, stop what uses the
    book and copy the file over `gatebench.duckdb` in the data root; `runs/` and `workloads/` are plain files.

    Example: `gatebench backup gatebench-backup.duckdb`
    """
    settings = common.enter(home)
    from storage.backup import backup as copy
    from storage.connection import Connection

    size = copy(Connection(settings.book_path, settings.book_wait_s), file, force=force)
    common.write_json(json, {"schema": "gatebench.backup/1", "file": str(file), "bytes": size})
    if not quiet and json != "-":
        typer.echo(f"copied {settings.book_path} to {file} ({size / 1e6:,.1f} MB)")
    return 0


def rebuild(json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """Make the book again from the files beside it: runs, legs, estimates, verdicts, baselines, incidents. The old one
    is moved aside, and nothing is deleted.

    Example: `gatebench rebuild`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    import asyncio

    from flows.lock import only_one

    async def alone() -> "Rebuilt":
        say = lambda text: typer.echo(text, err=True)  # noqa: E731
        async with only_one(settings.home_path, "gatebench rebuild", say, settings.run_wait_s):
            return await asyncio.to_thread(_rebuilt, settings)

    found = asyncio.run(alone())
    common.write_json(
        json,
        {
            "schema": "gatebench.rebuild/1",
            "book": str(settings.book_path),
            "runs": found.runs,
            "legs": found.legs,
            "journal": found.lines,
            "worked_out": found.bare,
            "lost": found.lost,
            "old_book": found.aside,
        },
    )
    if not quiet and json != "-":
        _tell(found, settings)
    return 0


def _rebuilt(settings: "Settings") -> "Rebuilt":
    from datetime import UTC, datetime

    from flows.again import work_out
    from storage.journal import Journal
    from storage.rebuild import rebuild as make

    journal = Journal(settings.home_path / "journal.jsonl")
    remember = not journal.path.exists()
    found = make(settings.book_path, settings.runs_path, journal, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    if remember:
        found.lost.append(
            f"there is no {journal.path.name}: what was acknowledged, accepted, rejected or pinned by name is lost"
        )
    for run_id in found.bare:
        wrong = work_out(run_id, settings, remember=remember)
        if wrong is not None:
            found.lost.append(wrong)
    return found


def _tell(found: "Rebuilt", settings: "Settings") -> None:
    from tasks.charts.words import count

    bare = len(found.bare)
    again = f", of which {bare} had to be worked out from samples" if bare else ""
    legs, lines = count(found.legs, "leg"), count(found.lines, "line")
    typer.echo(f"made {settings.book_path} again: {count(found.runs, 'run')}{again}, {legs}, {lines} of the journal")
    if found.aside is not None:
        typer.echo(f"the old book is {found.aside}")
    for line in found.lost:
        typer.echo(f"lost: {line}")


def prune(
    days: Annotated[
        int | None, typer.Option(min=1, help="Delete samples older than this (GATEBENCH_KEEP_SAMPLES_DAYS).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and stop.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Delete the samples of old runs. The book, results and pages stay, and so do the samples of nights that others are
    compared with, of open incidents, and of the newest run of each kind.

    Example: `gatebench prune --days 90 --dry-run`
    """
    settings = common.enter(home)
    from storage.errors import UsageError

    kept_days = settings.keep_samples_days if days is None else days
    if kept_days is None:
        raise UsageError("older than what? give --days 90, or set GATEBENCH_KEEP_SAMPLES_DAYS")
    common.quiet_prefect(settings.home_path)
    from datetime import UTC, datetime

    from tasks.forget import forget_old, in_words

    found = forget_old(settings, kept_days, datetime.now(UTC), dry_run=dry_run)
    common.write_json(
        json,
        {
            "schema": "gatebench.prune/1",
            "runs": found.runs,
            "kept": found.kept,
            "bytes": found.freed,
            "dry_run": dry_run,
        },
    )
    if not quiet and json != "-":
        for run_id, reason in found.kept.items():
            typer.echo(f"keeps the samples of {run_id}: it {reason}")
        said = in_words(found)
        typer.echo(said.replace("deleted", "would delete", 1) if dry_run else said)
    return 0
