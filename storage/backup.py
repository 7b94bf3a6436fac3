"""A copy of the book while others use it, and a check that it can be read."""

import os
from pathlib import Path

import duckdb

from storage.connection import Connection, open_file
from storage.disk import PRIVATE, make_folder, trouble
from storage.errors import UsageError
from storage.migrate import migrate

Con = duckdb.DuckDBPyConnection


def backup(connection: Connection, out: Path, *, force: bool = False) -> int:
    """Copy the book to `out`, all of it as it was at one instant; its size in bytes. Nobody writes meanwhile: who wants
    to waits, as for any other step. Raises UsageError for a file that is there already, StorageError."""
    if not connection.path.is_file():
        raise UsageError(f"there is no book at {connection.path} yet; nothing to copy")
    if out.exists() and (not force or out.samefile(connection.path)):
        raise UsageError(f"{out} is there already; --force overwrites it, but never the book itself")
    make_folder(out.parent)
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        aside.unlink(missing_ok=True)
        connection.do(lambda con: _copy(con, aside))
        with open_file(aside) as copy:
            migrate(copy)
        aside.chmod(PRIVATE)
        aside.replace(out)
        return out.stat().st_size
    except OSError as error:
        raise trouble(error, out) from error
    finally:
        aside.unlink(missing_ok=True)


def _copy(con: Con, out: Path) -> None:
    """By DuckDB itself, in the transaction that we are in: were the file opened a second time by us, closing it would
    drop the lock that keeps others out."""
    (name,) = con.execute("select current_database()").fetchone() or ("",)
    target = str(out).replace("'", "''")
    con.execute(f"attach '{target}' as gatebench_copy")
    con.execute(f'copy from database "{name}" to gatebench_copy')
