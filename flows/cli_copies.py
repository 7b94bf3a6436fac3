"""Commands that make a workload like another, and say how like it is."""

from pathlib import Path
from typing import Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet


def register(app: typer.Typer) -> None:
    app.command()(synth)
    app.command()(fidelity)


def synth(
    source: Annotated[
        Path, typer.Argument(metavar="W.parquet", help="The workload to be like, or its profile (JSON).")
    ],
    out: Annotated[Path, typer.Option(help="Workload to write.")],
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.")] = 1,
    duration: Annotated[str, typer.Option(metavar="10m", help="Cut or repeat the source to this; empty: as is.")] = "",
    scale: Annotated[
        float, typer.Option("--scale", "--rate-scale", help="Times as many requests in the same time.")
    ] = 1.0,
    arrivals: Annotated[
        str, typer.Option(help="recorded (its rate curve and gaps), constant, poisson, gamma or ramp.")
    ] = "recorded",
    rate: Annotated[float | None, typer.Option(help="Requests a second; the source's own if not given.")] = None,
    to_rate: Annotated[float | None, typer.Option(help="Where a ramp ends, in requests a second.")] = None,
    cv: Annotated[float, typer.Option(help="Spread of gamma gaps; 1 is Poisson.")] = 1.0,
    sessions: Annotated[
        bool | None, typer.Option("--sessions/--no-sessions", help="Keep sessions; by default where there are any.")
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Make a synthetic workload like a recorded one, with its fidelity report beside it.

    Example: `gatebench synth traffic.parquet --out like.parquet --seed 7 --duration 10m --scale 2`
    """
    common.enter(home)
    from tasks.synthesise import Wish, synthesise_to
    from tasks.workload.likeness import in_words, to_json
    from tasks.workload.trace import parse_window

    length = parse_window(duration)[1] if duration else None
    wish = Wish(seed, length, scale, arrivals, rate, to_rate, cv, sessions)
    made = synthesise_to(source, wish, out)
    said = {"workload_id": made.workload_id, "path": made.path, "report": made.report, "seed": seed}
    found = None if made.fidelity is None else to_json(made.fidelity)
    common.write_json(json, {"schema": "gatebench.synth/1", **said, "method": made.method, "fidelity": found})
    if not quiet and json != "-":
        typer.echo(f"workload {made.workload_id[:16]} in {made.path}")
        typer.echo(common.to_the_width(f"made by        {made.method}"))
        typer.echo("")
        if made.fidelity is None:
            typer.echo(
                "made of a profile, which keeps less than the workload: gaps inside bursts are drawn anew.\n"
                "`gatebench fidelity W.parquet OUT` says how like the workload itself it is"
            )
        else:
            typer.echo(in_words(made.fidelity))
    return 0


def fidelity(
    source: Annotated[Path, typer.Argument(metavar="A", help="The workload that is copied.")],
    copy: Annotated[Path, typer.Argument(metavar="B", help="The one that is meant to be like it.")],
    scale: Annotated[float, typer.Option(help="How many times A's rate B was made for.")] = 1.0,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """How far workload B is from workload A, each distance beside A's own noise.

    Example: `gatebench fidelity traffic.parquet like.parquet`
    """
    common.enter(home)
    from tasks.synthesise import compare_files
    from tasks.workload.likeness import in_words, to_json

    found = compare_files(source, copy, scale)
    common.write_json(json, to_json(found))
    if not quiet and json != "-":
        typer.echo(in_words(found))
    return 0
