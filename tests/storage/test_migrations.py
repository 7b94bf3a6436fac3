"""A book of every earlier schema, with rows in every table, becomes one of the newest and keeps what it held."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.connection import open_file
from storage.migrate import MIGRATIONS, migrate
from storage.store import Book

VERSIONS = sorted(int(file.name[:4]) for file in MIGRATIONS.glob("[0-9]*.sql"))
# 0004 begins the table of incidents anew: nobody had written to it before.
BEGUN_ANEW = {("incidents", version) for version in (1, 2, 3)}
RUN = "20261101T020000Z-nightly-0001"
# Where a column allows only certain values; anything else is made up by its type.
CHOSEN: dict[str, Any] = {
    "run_id": RUN,
    "status": "completed",
    "action": "accepted",
    "started": "2026-11-01 02:00:00",
    "started_at": "2026-11-01T02:00:00+00:00",
    "plan": '{"sweep": {}}',
    "environment": '{"cores": 2}',
}
BY_TYPE = {"BOOLEAN": True, "JSON": "{}", "DOUBLE": 1.5, "INTEGER": 3, "BIGINT": 4}


def book_of(version: int, folder: Path) -> Path:
    """A book as a gatebench of that schema left it."""
    old = folder / "migrations"
    old.mkdir()
    for file in MIGRATIONS.glob("[0-9]*.sql"):
        if int(file.name[:4]) <= version:
            shutil.copy(file, old)
    path = folder / "gatebench.duckdb"
    with open_file(path) as con:
        migrate(con, old)
        for table in tables(con):
            if not con.table(table).limit(1).fetchall():
                fill(con, table)
    return path


def tables(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute("select table_name from duckdb_tables() order by table_name").fetchall()
    return [name for (name,) in found if name != "schema_migrations"]


def fill(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """One row in which every column has a value."""
    found = con.execute(
        "select column_name, data_type from duckdb_columns() where table_name = $table and column_name <> 'place'",
        {"table": table},
    ).fetchall()
    row = {name: value_of(table, name, kind) for name, kind in found}
    places = "place" in con.table(table).columns
    if places and table not in ("baselines", "alerts", "changes"):  # these count by themselves
        row["place"] = 0
    names, values = ", ".join(row), ", ".join(f"${name}" for name in row)
    con.execute(f"insert into {table} ({names}) values ({values})", row)  # noqa: S608 - names of our own schema


def value_of(table: str, name: str, kind: str) -> Any:
    if name == "status" and table == "incidents":
        return "open"
    return CHOSEN[name] if name in CHOSEN else BY_TYPE.get(kind, f"some {name}")


def rows(con: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    found = con.table(table)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_book_of_an_earlier_schema_keeps_every_row(version: int, tmp_path: Path):
    path = book_of(version, tmp_path)
    with open_file(path) as con:
        before = {table: rows(con, table) for table in tables(con)}
        assert migrate(con) == [later for later in VERSIONS if later > version]
        after = {table: rows(con, table) for table in tables(con)}
    assert len(before) > 10
    for table, held in before.items():
        if (table, version) in BEGUN_ANEW:
            assert after[table] == []
            continue
        assert len(held) == len(after[table]) == 1, table
        (old,), (new,) = held, after[table]
        assert {name: new[name] for name in old} == old, table
    book = Book(path)
    assert [run.run_id for run in book.runs()] == [RUN]
    assert (
        len(book.cells(RUN)) == len(book.verdicts(RUN)) == len(book.ceilings(RUN)) == len(book.calibrations(RUN)) == 1
    )
    assert [segment.segment_id for segment in book.segments()] == ["some segment_id"]
    assert book.baseline_runs("some segment_id") == [RUN]


def test_the_schema_of_a_migrated_book_is_that_of_a_new_one(tmp_path: Path):
    path = book_of(1, tmp_path)
    shape = (
        "select table_name, column_name, data_type, is_nullable from duckdb_columns() where not internal order by all"
    )
    with open_file(path) as old, open_file(tmp_path / "new.duckdb") as new:
        migrate(old)
        migrate(new)
        assert old.execute(shape).fetchall() == new.execute(shape).fetchall()
        assert len(new.execute(shape).fetchall()) > 100
