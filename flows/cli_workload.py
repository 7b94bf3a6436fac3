"""Commands on logs and workloads."""

from pathlib import Path
from typing import Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet


def register(app: typer.Typer) -> None:
    app.command()(capture)
    app.command()(profile)


def capture(
    source: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Log files, folders or globs.")],
    out: Annotated[Path, typer.Option(help="Workload to write.")],
    format: Annotated[str, typer.Option(help="Log format; auto looks at the content.")] = "auto",
    privacy: Annotated[str, typer.Option(help="counts, structure or text: how much is kept.")] = "counts",
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Turn gateway logs into a redacted workload; every row is accounted for.

    Example: `gatebench capture litellm.jsonl --out traffic.parquet`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from flows.capture import capture as flow

    where = str(out.resolve())
    data = common.run_flow(
        lambda: flow([_absolute(s) for s in source], where, format, privacy, return_state=True), quiet
    )
    common.write_json(json, {"schema": "gatebench.capture/1", **data})
    if not quiet and json != "-":
        typer.echo(f"workload {data['workload_id'][:16]} in {data['path']}")
        if data["rejects"]:
            typer.echo(f"rows that could not be read are listed in {data['rejects']}")
        typer.echo("")
        typer.echo(data["words"])
    return 0


def _absolute(source: str) -> str:
    return str(Path(source).expanduser().absolute())


def profile(
    workload: Annotated[Path, typer.Argument(metavar="W.parquet")],
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """What a workload is like: concurrency, sizes, models, arrivals.

    Example: `gatebench profile traffic.parquet --json profile.json`
    """
    common.enter(home)
    from tasks.workload import trace
    from tasks.workload.profile import profile as describe
    from tasks.workload.words import in_words

    found = describe(trace.read(workload))
    common.write_json(json, found.to_json())
    if not quiet and json != "-":
        typer.echo(in_words(found))
    return 0
