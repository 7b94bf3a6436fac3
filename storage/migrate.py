"""The schema of the book, moved forward one numbered file at a time."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from storage.errors import NewerSchema, StorageError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(con: duckdb.DuckDBPyConnection, folder: Path = MIGRATIONS) -> list[int]:
    """Bring the book to the newest schema in `folder`; the versions that were applied now, [] if it was there.

    Each migration and its record are one transaction. Raises NewerSchema if the book is ahead of us, StorageError if
    it is somebody else's database.
    """
    known = {int(file.name[:4]): file for file in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))}
    done = _applied(con)
    if done and max(done) > max(known):
        raise NewerSchema(
            f"{_name(con)} has schema {max(done)}, this gatebench knows {max(known)}: "
            "it was written by a newer gatebench; upgrade, or use another GATEBENCH_HOME"
        )
    waiting = [version for version in sorted(known) if version not in done]
    for version in waiting:
        _apply(con, version, known[version])
    return waiting


def _applied(con: duckdb.DuckDBPyConnection) -> set[int]:
    tables = {row[0] for row in con.execute("select table_name from duckdb_tables()").fetchall()}
    if "schema_migrations" in tables:
        return {row[0] for row in con.execute("select version from schema_migrations").fetchall()}
    if tables:
        raise StorageError(
            f"{_name(con)} holds the tables of something else ({', '.join(sorted(tables)[:3])}); "
            "use another GATEBENCH_HOME"
        )
    return set()


def _name(con: duckdb.DuckDBPyConnection) -> str:
    row = con.execute("select path from duckdb_databases() where database_name = current_database()").fetchone()
    return f"the book {row[0]}" if row and row[0] else "the book"


def _apply(con: duckdb.DuckDBPyConnection, version: int, file: Path) -> None:
    con.execute("begin")
    try:
        con.execute(file.read_text(encoding="utf-8"))
        con.execute(
            "insert into schema_migrations (version, name, applied_at) values ($version, $name, $applied_at)",
            {"version": version, "name": file.stem, "applied_at": datetime.now(UTC).isoformat(timespec="seconds")},
        )
        con.execute("commit")
    except BaseException:
        roll_back(con)
        raise


def roll_back(con: duckdb.DuckDBPyConnection) -> None:
    """After some errors DuckDB has rolled back by itself, and says so with a TransactionException."""
    try:
        con.execute("rollback")
    except duckdb.TransactionException:
        return
