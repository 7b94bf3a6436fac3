"""`gatebench baseline export|import`: the nights that tonight is compared with, for another machine or for CI."""

import getpass
import io
from pathlib import Path
from typing import Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet
from flows.cli_export import one_stdout, pour
from flows.cli_options import Set, plan_path


def baseline_export(
    segments: Annotated[
        list[str] | None, typer.Argument(metavar="SEGMENT…", help="As `gatebench baseline show` names them.")
    ] = None,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Bundle to write; - is stdout.")] = "-",
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only this target's.")] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """The baselines that were measured last, as one file: numbers, digests and times, no rows, keys, URLs or prompts.

    Example: `gatebench baseline export --out baseline.json`
    """
    one_stdout(out, json)
    settings = common.enter(home)
    from storage.disk import give
    from storage.store import Book

    found = Book(settings.book_path, settings.book_wait_s).watch.bundle(segments or [], target)
    if out == "-":
        pour(io.BytesIO(found.text().encode()))
    else:
        give(Path(out), found.text())
    parts = [{"target": p.target, "series": p.series, "nights": len(p.nights)} for p in found.parts]
    path = None if out == "-" else str(Path(out).resolve())
    common.write_json(json, {"schema": "gatebench.baseline-export/1", "path": path, "parts": parts})
    if path is not None and not quiet and json != "-":
        said = ", ".join(f"{p['target']} {p['series']} ({p['nights']} nights)" for p in parts)
        typer.echo(f"{said} in {path}")
    return 0


def baseline_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gatebench baseline export` wrote.")],
    plan: Annotated[
        str, typer.Option("--plan", metavar="FILE", help="Plan whose nights are judged against it, or a shipped name.")
    ] = "nightly",
    change: Set = None,
    why: Annotated[str, typer.Option("--why", help="Said in the book beside the change.")] = "imported",
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """From now on nights of a plan are judged against the nights of a bundle. Another workload or plan is refused.

    Example: `gatebench baseline import baseline.json --plan my-gateway.toml --why "the benchmark has moved house"`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from config.plan import load_plan
    from flows.baselines import as_json, import_bundle
    from storage.bundle import read_bundle

    bundle = read_bundle(file)
    taken = import_bundle(bundle, load_plan(plan_path(plan), change or []), settings, getpass.getuser(), why)
    common.write_json(json, as_json(taken))
    if not quiet and json != "-":
        for one in taken:
            typer.echo(f"{one.segment.target} {one.segment.series}: {len(one.new)} nights in {one.segment.segment_id}")
        if any(one.elsewhere for one in taken):
            typer.echo(
                "they were measured on another kind of machine: if the first night here says that everything moved, it "
                "is the machine; `gatebench baseline accept last` begins anew from that night"
            )
    return 0
