"""What the book holds of one run, as a file beside its samples and back: `runs/<run>/results.json`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from storage.errors import StorageError
from storage.journal import PLACED

Con = duckdb.DuckDBPyConnection

SCHEMA = "gatebench.results/1"
FILE = "results.json"
# Sums of the legs, and what is not the run's own; the journal has the latter.
LEFT_OUT = ("trials", *PLACED)
COLUMNS = """
select table_name, list(column_name order by column_index), list(data_type order by column_index)
from duckdb_columns() where not internal and table_name in (select table_name from duckdb_tables())
group by table_name order by table_name
"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`columns`: of every table, its columns and their types. `keyed`: the tables with a primary key."""

    columns: dict[str, dict[str, str]]
    keyed: set[str]


def catalogue(con: Con) -> Catalogue:
    rows = con.execute(COLUMNS).fetchall()
    keyed = con.execute("select table_name from duckdb_constraints() where constraint_type = 'PRIMARY KEY'").fetchall()
    return Catalogue({t: dict(zip(names, types, strict=True)) for t, names, types in rows}, {row[0] for row in keyed})


def text_of(con: Con, run_id: str) -> str:
    """All rows of a run, table by table, and the segments it was judged in."""
    tables = [name for name, found in catalogue(con).columns.items() if "run_id" in found and name not in LEFT_OUT]
    held = {name: _held(con, f"from {_list([name])} where run_id = $run_id order by all", run_id) for name in tables}
    mine = "from segments where segment_id in (select segment_id from run_segments where run_id = $run_id) order by all"
    raw = {"schema": SCHEMA, "run_id": run_id, "tables": {**held, "segments": _held(con, mine, run_id)}}
    return json.dumps(raw, default=_plain) + "\n"


def read(file: Path) -> dict[str, Any]:
    """{table: {"columns", "rows"}}. Raises StorageError for a file that cannot be read."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        tables: dict[str, Any] = raw["tables"]
        if raw["schema"] != SCHEMA or not tables["runs"]["rows"]:
            raise ValueError(f"it is no {SCHEMA}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{file} cannot be read ({error}); remove it, or take it back from a backup") from error
    return tables


def load(con: Con, there: Catalogue, table: str, names: list[str], rows: list[list[Any]]) -> None:
    """Put rows into a table, those that are there already left as they are. Columns that this book does not have (they
    are a newer gatebench's) are left out, and so are whole tables."""
    known = there.columns.get(table, {})
    kept = [(at, name) for at, name in enumerate(names) if name in known]
    if rows and kept:
        begin = "insert or ignore" if table in there.keyed else "insert"
        values = ", ".join(f"unnest($c{at}::{known[name]}[])" for at, name in kept)
        con.execute(
            f"{begin} into {_list([table])} ({_list(name for _, name in kept)}) select {values}",
            {f"c{at}": [row[at] for row in rows] for at, _ in kept},
        )


def replace(con: Con, there: Catalogue, table: str, row: dict[str, Any]) -> None:
    """One row, in place of the one with its key if there is any."""
    names = [name for name in row if name in there.columns.get(table, {})]
    if names:
        values = ", ".join(f"${name}" for name in names)
        con.execute(
            f"insert or replace into {_list([table])} ({_list(names)}) values ({values})",  # noqa: S608 - see _list
            {name: row[name] for name in names},
        )


def _list(names: Iterable[str]) -> str:
    """Names that the catalogue of the book itself has, quoted; whatever a file says is a parameter."""
    return ", ".join(f'"{name}"' for name in names)


def _held(con: Con, what: str, run_id: str) -> dict[str, Any]:
    found = con.execute(f"select * {what}", {"run_id": run_id})
    return {"columns": [one[0] for one in found.description or ()], "rows": found.fetchall()}


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a row of the book")
