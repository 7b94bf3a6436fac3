"""Everything that a command has left behind, as bytes in which anything it holds is found."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import polars as pl


def strings_in(path: Path) -> bytes:
    """What a file holds, as text where it is packed."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        raw += str((pl.read_parquet(path).rows(), pl.read_parquet_metadata(path))).encode()
    if ".duckdb" in path.name:
        with duckdb.connect(str(path), read_only=True) as book:
            for (table,) in book.sql("select table_name from information_schema.tables").fetchall():
                raw += str(book.table(table).fetchall()).encode()
    if path.suffix == ".db":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as history:
            for (table,) in history.execute("select name from sqlite_master where type = 'table'").fetchall():
                raw += str(history.execute(f'select * from "{table}"').fetchall()).encode()  # noqa: S608 - of sqlite_master
    return raw


def left_behind(*folders: Path, but: Iterable[Path] = ()) -> dict[str, bytes]:
    """Every file below these folders by its path, those below `but` left out."""
    out = set(but)
    return {
        str(path): strings_in(path)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not out & {path, *path.parents}
    }


def given_away(written: Mapping[str, bytes], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """(where, secret) of all that should not be there."""
    told = [(secret, secret.encode()) for secret in secrets]
    return [(where, secret) for where, held in written.items() for secret, raw in told if raw in held]
