"""What only the book knows, written down beside it row by row: segments and baselines, incidents, named workloads, logs
that were read, alerts. With it and the files of the runs `gatebench rebuild` makes the book again.

journal.jsonl: {"table": …, "row": {column: value}} in the order in which it became true. Lines are only ever added; of
several with the same key the last counts.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from storage.disk import append_synced, trouble

T = TypeVar("T")
Con = duckdb.DuckDBPyConnection
Row = dict[str, Any]
Line = tuple[str, Row]  # table, row
Rows = dict[tuple[Any, ...], Row]

# By key: what is said of the same again replaces what was said before.
KEYED = {
    "segments": ("segment_id",),
    "run_segments": ("run_id", "segment_id"),
    "incidents": ("incident_id",),
    "workloads": ("name",),
    "captured_logs": ("plan", "path"),
    "noise": ("noise_id",),
}
# In order: nothing replaces anything. Their place is counted anew in a new book.
PLACED = ("baselines", "changes", "alerts")
TABLES = (*KEYED, *PLACED)
MEMORY = ("segments", "baselines", "incidents", "changes")  # what an accepted change touches


@dataclass(frozen=True, slots=True)
class Journal:
    """The file beside one book. It begins with all that the book holds already."""

    path: Path

    def around(self, work: Callable[[Con], T], tables: Sequence[str]) -> tuple[Callable[[Con], T], Callable[[], None]]:
        """For `Connection.do`: the same work, and what adds the rows of these tables that it made or changed."""
        found: list[Line] = []

        def watched(con: Con) -> T:
            new = not self.path.exists()
            before = {} if new else _held(con, tables)
            result = work(con)
            found[:] = _changed(before, _held(con, TABLES if new else tables))
            return result

        return watched, lambda: self.add(found)

    def add(self, lines: Sequence[Line]) -> None:
        """Raises StorageError."""
        if lines:
            text = "".join(json.dumps({"table": table, "row": row}) + "\n" for table, row in lines)
            append_synced(self.path, text)

    def read(self) -> Iterator[Line | int]:
        """Every line in order; of one that cannot be read, its number. Nothing where there is no journal."""
        if not self.path.exists():
            return
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError as error:
            raise trouble(error, self.path) from error
        for number, line in enumerate(lines, 1):
            try:
                raw = json.loads(line)
                yield str(raw["table"]), dict(raw["row"])
            except (ValueError, KeyError, TypeError):
                yield number


def _held(con: Con, tables: Sequence[str]) -> dict[str, Rows]:
    return {table: _rows(con, table, KEYED.get(table, ("place",))) for table in tables}


def _rows(con: Con, table: str, key: tuple[str, ...]) -> Rows:
    found = con.table(table).order(", ".join(key))
    rows = (dict(zip(found.columns, row, strict=True)) for row in found.fetchall())
    return {tuple(row[name] for name in key): row for row in rows}


def _changed(before: dict[str, Rows], after: dict[str, Rows]) -> list[Line]:
    return [
        (table, {name: value for name, value in row.items() if name != "place"})
        for table, rows in after.items()
        for key, row in rows.items()
        if before.get(table, {}).get(key) != row
    ]
