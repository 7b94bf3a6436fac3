"""A run as tables: its rows as they were sampled, or its estimates, as Parquet or CSV."""

import os
from pathlib import Path
from typing import Any

import polars as pl

from storage.disk import hand_over, trouble
from storage.errors import UsageError
from storage.records import Cell, Run

ESTIMATES: dict[str, Any] = {
    **dict.fromkeys(("run_id", "plan", "started_at", "attempt", "target", "series"), pl.String),
    "level": pl.Int64,
    **dict.fromkeys(("metric", "unit"), pl.String),
    **dict.fromkeys(("point", "lower", "upper"), pl.Float64),
    **dict.fromkeys(("requests", "blocks"), pl.Int64),
    "at_least": pl.Boolean,
}
UNITS = {"throughput": "1/s", "goodput": "1/s", "output_tokens_per_s": "tokens/s", "errors": "ratio"}


def estimates(run: Run, cells: list[Cell]) -> pl.LazyFrame:
    """One row an estimate, with the columns of ESTIMATES: both attempts, the control too, in the order given."""
    head = (run.run_id, run.plan_name, run.started_at)
    rows = [
        (
            *(*head, c.attempt, c.target, c.series, c.level, c.metric, UNITS.get(c.metric, "s")),
            *(c.estimate.point, c.estimate.lower, c.estimate.upper, c.estimate.n, c.estimate.blocks),
            c.estimate.at_least,
        )
        for c in cells
    ]
    return pl.LazyFrame(rows, schema=ESTIMATES, orient="row")


def write_table(table: pl.LazyFrame, path: Path, kind: str) -> None:
    """`kind`: parquet, or csv (a list in a cell is its values with spaces between). Streamed, so that any number of
    rows fits; written aside and renamed. Raises UsageError for a folder that is not there, StorageError for a disk."""
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder; make it, or write elsewhere")
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if kind == "parquet":
            table.sink_parquet(aside)
        else:
            _flat(table).sink_csv(aside)
        hand_over(aside)
        aside.replace(path)
    except OSError as error:
        raise trouble(error, path) from error
    finally:
        aside.unlink(missing_ok=True)


def _flat(table: pl.LazyFrame) -> pl.LazyFrame:
    """For CSV: lists as text; and what a target said (its models, request ids) opens no formula in a spreadsheet, and
    moves no cursor where the file is printed."""
    lists = [name for name, kind in table.collect_schema().items() if isinstance(kind, pl.List)]
    text = pl.col(pl.String).str.replace_all(r"[\p{Cc}\p{Cf}]", " ")
    said = pl.when(text.str.contains(r"^[=+@-]")).then("'" + text).otherwise(text).name.keep()
    return table.with_columns(said, *(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists))
