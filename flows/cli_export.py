"""`gatebench export`: a stored run for other tools to read."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
        str, typer.Option(metavar="WHICH", help="Of parquet and csv: rows, one a request, or estimates.")
    ] = "rows",
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
    view = view_of(run, settings)
    rows = RunFiles(settings.runs_path, view.run.run_id).samples()
    if textfile is not None:
        written = [_textfile(view, textfile)]
    elif kind == "aiperf":
        written = _aiperf(view, rows, out, target, level)
    elif kind in ("parquet", "csv"):
        written = _table(view, rows, kind, table, out)
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
            shutil.copyfileobj(source, sys.stdout.buffer)
    return []


def _put(text: str, out: str) -> list[Path]:
    from storage.disk import give

    if out == "-":
        sys.stdout.write(text)
        return []
    give(Path(out), text)
    return [Path(out)]
