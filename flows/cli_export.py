"""`gatebench export`: a stored run for other tools to read."""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet, Run

if TYPE_CHECKING:
    import polars as pl

    from tasks.report.view import RunView

HELP = "parquet, csv, json, junit, openmetrics, github-summary or aiperf."


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    run: Run = "last",
    to: Annotated[str | None, typer.Option("--to", "--format", metavar="FORMAT", help=HELP)] = None,
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE", help="File to write; - is stdout. Of aiperf: a folder for all loads."),
    ] = "-",
    table: Annotated[
        str | None,
        typer.Option(metavar="WHICH", help="Of parquet and csv: rows, one a request (absent), or estimates."),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Of aiperf: this target only.")] = None,
    level: Annotated[int | None, typer.Option(help="Of aiperf: this level only; 0 is the replay or load.")] = None,
    textfile: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write gatebench-PLAN.prom there for node-exporter's textfile collector."),
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """A stored run for other tools: its rows, its estimates, its verdicts. Without keys and without prompts.

    Example: `gatebench export last --to csv --table estimates --out estimates.csv`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from storage.files import RunFiles
    from tasks.publish import view_of

    kind = _kind(to, textfile)
    _sensible(kind, out, json, textfile, {"--table": table, "--target": target, "--level": level})
    view = view_of(run, settings)
    rows = RunFiles(settings.runs_path, view.run.run_id).samples()
    if textfile is not None:
        written = [_textfile(view, textfile)]
    elif kind == "aiperf":
        written = _aiperf(view, rows, out, target, level)
    elif kind in ("parquet", "csv"):
        written = _table(view, rows, kind, table or "rows", out)
    else:
        from flows.exports import TEXTS

        written = _put(TEXTS[kind](view), out)
    paths = [str(path.resolve()) for path in written]
    common.write_json(json, {"schema": "gatebench.export/1", "run_id": view.run.run_id, "format": kind, "paths": paths})
    if not quiet and json != "-":
        for path in paths:
            typer.echo(path)
    return 0


def _kind(to: str | None, textfile: Path | None) -> str:
    """Raises UsageError."""
    from storage.errors import UsageError

    if textfile is not None and to not in (None, "openmetrics"):
        raise UsageError(f"--textfile is openmetrics; leave out --to {to}, or write it with --out FILE")
    if textfile is not None:
        return "openmetrics"
    from flows.exports import FORMATS

    kind = "github-summary" if to == "github" else to
    if kind not in FORMATS:
        said = "export to what?" if to is None else f"--to {to} is no format:"
        raise UsageError(f"{said} give --to with one of {', '.join(FORMATS)}")
    return kind


def _sensible(kind: str, out: str, json: str | None, textfile: Path | None, given: dict[str, object]) -> None:
    """Raises UsageError for options that would do nothing, or that want the same place."""
    from storage.errors import UsageError

    of = {"--table": ("parquet", "csv"), "--target": ("aiperf",), "--level": ("aiperf",)}
    for name, kinds in of.items():
        if given[name] is not None and kind not in kinds:
            raise UsageError(f"{name} is an option of {' and '.join(kinds)}, not of {kind}; leave it out")
    if textfile is not None and out != "-":
        raise UsageError("--textfile names the folder to write to; leave out --out")
    if textfile is None:
        one_stdout(out, json)


def one_stdout(out: str, json: str | None) -> None:
    """Raises UsageError where two things would be written to stdout."""
    from storage.errors import UsageError

    if out == "-" and json == "-":
        raise UsageError("the export itself goes to stdout; give --out FILE, or --json FILE")


def _textfile(view: "RunView", folder: Path) -> Path:
    """Whole or not at all: the collector reads whenever it likes. Raises UsageError."""
    from storage.disk import give
    from storage.errors import UsageError
    from tasks.export.openmetrics import openmetrics

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name the one that node-exporter's --collector.textfile.directory has")
    path = folder / f"gatebench-{view.run.plan_name}.prom"
    give(path, openmetrics(view))
    return path


def _aiperf(view: "RunView", rows: "pl.LazyFrame", out: str, target: str | None, level: int | None) -> list[Path]:
    """One load to a file or stdout, several to a folder. Raises UsageError."""
    from flows.exports import aiperf_files, aiperf_text, trials
    from storage.disk import give
    from storage.errors import UsageError

    found = trials(view, target, level)
    if len(found) == 1 and (out == "-" or Path(out).suffix == ".json"):
        return _put(aiperf_text(view, found[0], rows), out)
    if out == "-" or Path(out).suffix == ".json":
        have = ", ".join(trial.label for trial in found)
        raise UsageError(
            f"AIPerf's file holds one load and this run has {len(found)} ({have}): "
            "choose with --target and --level, or give a folder with --out DIR"
        )
    files = aiperf_files(view, found, rows, Path(out))
    for path, text in files:
        give(path, text)
    return [path for path, _ in files]


def _table(view: "RunView", rows: "pl.LazyFrame", kind: str, which: str, out: str) -> list[Path]:
    """Raises UsageError for Parquet on a terminal."""
    from flows.exports import table_of
    from storage.errors import UsageError
    from tasks.export.tables import write_table

    found = table_of(view, rows, which)
    if out != "-":
        write_table(found, Path(out), kind)
        return [Path(out)]
    if kind == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; give --out FILE")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table"
        write_table(found, file, kind)
        with file.open("rb") as source:
            pour(source)
    return []


def pour(source: IO[bytes]) -> None:
    """To stdout, until whoever reads it has enough."""
    try:
        shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _put(text: str, out: str) -> list[Path]:
    from storage.disk import give

    if out == "-":
        pour(io.BytesIO(text.encode()))
        return []
    give(Path(out), text)
    return [Path(out)]
