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
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN,…",
            help="Columns of any table (CSV, JSON lines, Parquet), for example time=created:ms,model=deployment.",
        ),
    ] = None,
    spread: Annotated[bool, typer.Option(help="Lay arrivals with coarse stamps out within their step.")] = False,
    seed: Annotated[int, typer.Option(help="Of --spread.")] = 0,
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
    from tasks.workload.redact import known_level

    known_level(privacy)

    where = str(out.resolve())
    data = common.run_flow(
        lambda: flow(
            [_absolute(s) for s in source],
            where,
            format,
            privacy,
            mapping,
            seed if spread else None,
            return_state=True,
        ),
        quiet,
    )
    common.write_json(json, {"schema": "gatebench.capture/1", **data})
    if not quiet and json != "-":
        typer.echo(f"workload {data['workload_id'][:16]} in {data['path']}")
        if data["rejects"]:
            typer.echo(f"rows that could not be read are listed in {data['rejects']}")
        typer.echo("")
        typer.echo(common.to_the_width(data["words"]))
    return 0


def _absolute(source: str) -> str:
    return str(Path(source).expanduser().absolute())


def profile(
    workload: Annotated[Path, typer.Argument(metavar="W.parquet")],
    html: Annotated[Path | None, typer.Option(metavar="PAGE.html", help="Write it as a page with charts too.")] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """What a workload is like: concurrency, sizes, models, arrivals.

    Example: `gatebench profile traffic.parquet --html profile.html`
    """
    common.enter(home)
    from tasks.characterise import characterise_file, write_page

    found = characterise_file(workload)
    common.write_json(json, found.profile)
    if html is not None:
        write_page(found, html)
    if not quiet and json != "-":
        typer.echo(common.to_the_width(found.words))
        if html is not None:
            typer.echo(f"page: {html.resolve()}")
    return 0
