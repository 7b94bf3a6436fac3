"""The book again, from the files that lie beside it. Nothing is deleted: the old book is moved aside."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import duckdb

from storage import dump, results, runs
from storage.connection import Con, open_file
from storage.disk import PRIVATE, make_folder, trouble
from storage.errors import StorageError
from storage.files import RunFiles
from storage.journal import Journal, Line
from storage.migrate import migrate, roll_back
from storage.records import Leg, RunStatus

REASON = "the book was made again after this run had ended"


@dataclass(slots=True)
class Rebuilt:
    """`bare`: runs, oldest first, that left no results in a file: what their samples say has to be worked out again.
    `lost`: a sentence for each thing that could not be read. `aside`: where the old book lies, None without one."""

    runs: int = 0
    legs: int = 0
    lines: int = 0
    bare: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    aside: str | None = None


def rebuild(
    path: Path, runs_path: Path, journal: Journal, stamp: str, open: Callable[[Path], Con] = open_file
) -> Rebuilt:
    """Make the book at `path` anew. `stamp`: what the old one's name ends in. The new book takes its place only when it
    is whole. Raises StorageError where it cannot be written."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        aside.unlink(missing_ok=True)
        found = _fill(aside, runs_path, journal, open)
        aside.chmod(PRIVATE)
        found.aside = _swap(path, aside, stamp)
    except OSError as error:
        raise trouble(error, path) from error
    finally:
        aside.unlink(missing_ok=True)
    return found


def _fill(path: Path, runs_path: Path, journal: Journal, open: Callable[[Path], Con]) -> Rebuilt:
    found = Rebuilt()
    with open(path) as con:
        migrate(con)
        there = dump.catalogue(con)
        for folder in sorted(runs_path.glob("*/")):
            _run(con, there, folder, found)
        _lines(con, there, journal, found)
    return found


def _lines(con: Con, there: dump.Catalogue, journal: Journal, found: Rebuilt) -> None:
    """The journal, at one go; where that fails line by line, so that one that does not fit does not stop the rest."""
    lines = []
    for line in journal.read():
        if isinstance(line, int):
            found.lost.append(f"{journal.path}, line {line} cannot be read and is left out")
        else:
            lines.append(line)

    def all_of_them() -> None:
        for line in lines:
            _line(con, there, line, found)

    if _whole(con, all_of_them) is None:
        return
    found.lines = 0
    for line in lines:
        wrong = _whole(con, partial(_line, con, there, line, found))
        if wrong is not None:
            found.lost.append(f"{journal.path}: a row of {line[0]} is left out: {wrong}")


def _whole(con: Con, work: Callable[[], object]) -> str | None:
    """All of some work in one transaction, or nothing of it; what went wrong, None if nothing did."""
    con.execute("begin")
    try:
        work()
        con.execute("commit")
    except (duckdb.Error, StorageError, KeyError, TypeError) as error:
        roll_back(con)
        return str(error).strip().splitlines()[0]
    return None


def _run(con: Con, there: dump.Catalogue, folder: Path, found: Rebuilt) -> None:
    """One run from its results, else from its manifest and the legs that were closed."""
    file = folder / dump.FILE
    if file.is_file():
        wrong = _whole(con, lambda: _of_results(con, there, folder, found))
        if wrong is None:
            return
        found.lost.append(f"the results of run {folder.name} are worked out again: {wrong}")
    wrong = _whole(con, lambda: _of_manifest(con, folder, found))
    if wrong is not None:
        found.lost.append(f"run {folder.name} is left out: {wrong}")


def _of_results(con: Con, there: dump.Catalogue, folder: Path, found: Rebuilt) -> None:
    tables = dump.read(folder / dump.FILE)
    for table, held in tables.items():
        dump.load(con, there, table, held["columns"], held["rows"])
    results.put_legs(con, folder.name, [])  # the trials are sums of the legs
    found.runs += 1
    found.legs += len(tables["legs"]["rows"])


def _of_manifest(con: Con, folder: Path, found: Rebuilt) -> None:
    files = RunFiles(folder.parent, folder.name)
    run = files.read_run()
    if run.status == RunStatus.RUNNING:
        run = replace(run, status=RunStatus.INTERRUPTED.value, reason=REASON)
    runs.insert_run(con, replace(run, path=str(folder)), str(run.environment.get("host") or ""), 0)
    legs = _legs(files, found)
    results.put_legs(con, run.run_id, legs)
    found.runs += 1
    found.legs += len(legs)
    found.bare.append(run.run_id)


def _legs(files: RunFiles, found: Rebuilt) -> list[Leg]:
    try:
        return files.legs()
    except StorageError as error:
        found.lost.append(f"the legs of run {files.run_id} are left out: {error}")
        return []


def _line(con: Con, there: dump.Catalogue, line: Line, found: Rebuilt) -> None:
    table, row = line
    dump.replace(con, there, table, row)
    found.lines += 1


def _swap(path: Path, new: Path, stamp: str) -> str | None:
    """Put the new book in place of the old one, which stays under another name with what it had not taken in yet."""
    names = (f"{path.name}.{stamp}{again}.old" for again in ("", *(f".{n}" for n in range(2, 100))))
    kept = next(place for place in map(path.with_name, names) if not place.exists())
    was_there = path.exists()
    if was_there:
        os.link(path, kept)
    log = path.with_name(f"{path.name}.wal")
    if log.exists():
        log.rename(f"{kept}.wal")
    new.replace(path)
    return str(kept) if was_there else None
