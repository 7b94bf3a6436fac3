"""Commands on what is remembered: runs, verdicts, baselines, reports."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_common as common
from flows.cli_bundle import baseline_export, baseline_import
from flows.cli_common import Home, Json, Quiet, Run
from flows.cli_options import Junit

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.store import Book

WIDE = 120  # columns of a terminal from which on the reason of a run stands beside it
Why = Annotated[str, typer.Option("--why", help="Said in the book beside the change.")]


def register(app: typer.Typer) -> None:
    app.command()(judge)
    app.command()(runs)
    app.command()(show)
    app.command()(report)
    baseline = typer.Typer(no_args_is_help=True, help="What tonight is compared with.")
    baseline.command("show")(baseline_show)
    baseline.command("accept")(baseline_accept)
    baseline.command("reject")(baseline_reject)
    baseline.command("export")(baseline_export)
    baseline.command("import")(baseline_import)
    app.add_typer(baseline, name="baseline")


def judge(run: Run = "last", json: Json = None, junit: Junit = None, quiet: Quiet = False, home: Home = None) -> int:
    """The verdict of a stored run against its baseline, again.

    Example: `gatebench judge last`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from flows import ci
    from flows.judge import judge as flow
    from flows.outcome import exit_code
    from flows.outputs import judge_json
    from storage.records import CONTROL, Validity
    from tasks.publish import view_of

    data = common.run_flow(lambda: flow(run, return_state=True), quiet)
    view = view_of(data["run_id"], settings)
    common.write_json(json, judge_json(view))
    if ci.wanted(junit):
        ci.tell_run(view, junit)
    common.show_run(data["run_id"], settings, json_to=json, quiet=quiet)
    return exit_code(
        view.run.verdict,
        slo_broken=any(result.ok is False for result in view.slo_results),
        stopped=any(leg.stopped for leg in view.legs if leg.target != CONTROL),
        invalid=any(leg.validity == Validity.INVALID for leg in view.legs if leg.target != CONTROL),
        nothing=any(result.ok is None for result in view.slo_results),
    )


def runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    flow: Annotated[str | None, typer.Option(help="Only runs of this flow, as in nightly.")] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Runs in the book, newest first.

    Example: `gatebench runs --flow nightly`
    """
    settings = common.enter(home)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from flows.ground import alive
    from storage.records import to_json

    book = _book(settings)
    book.mark_interrupted(alive)
    found = book.runs(limit, flow)
    common.write_json(json, {"schema": "gatebench.runs/1", "runs": [to_json(run) for run in found]})
    if quiet or json == "-":
        return 0
    if not found:
        typer.echo(f"no runs yet in {settings.book_path}; `gatebench quickstart` makes some")
        return 0
    console = Console(highlight=False)
    beside = console.width >= WIDE
    table = Table(box=None, pad_edge=False)
    for name in ("run", "plan", "status", "verdict", "exit", "why")[: None if beside else -1]:
        table.add_column(name, no_wrap=name == "run", overflow="fold")
    for run in found:
        code = "" if run.exit_code is None else str(run.exit_code)
        facts = (run.run_id, run.plan_name, run.status, run.verdict or "", code)
        table.add_row(*facts, *([run.reason or ""] if beside else []))
    console.print(table)
    for run in found:
        if run.reason and not beside:
            console.print(Text(f"\n{run.run_id}: {run.reason}"))
    return 0


def show(run: Run = "last", json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """A run's summary in the terminal.

    Example: `gatebench show last`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from flows.outputs import night_json
    from tasks.publish import view_of

    view = view_of(run, settings)
    common.write_json(json, night_json(view))
    common.show_run(view.run.run_id, settings, json_to=json, quiet=quiet)
    return 0


def report(
    run: Run = "last",
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Write a run's page again from the book and the samples, and print its path.

    Example: `gatebench report last --open`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    import webbrowser

    from tasks.publish import write_report

    path = write_report(run, settings)
    common.write_json(json, {"schema": "gatebench.report/1", "report": str(path)})
    if not quiet and json != "-":
        typer.echo(str(path))
    if show and not webbrowser.open(path.as_uri()):
        common.tell(f"no browser can be opened here; copy {path} to where there is one")
    return 0


def baseline_show(json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """Every segment, with the nights that its runs are compared with.

    Example: `gatebench baseline show`
    """
    settings = common.enter(home)
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    book = _book(settings)
    found = [(segment, book.baseline_runs(segment.segment_id)) for segment in book.segments()]
    common.write_json(
        json,
        {"schema": "gatebench.baseline/1", "segments": [{**asdict(s), "runs": members} for s, members in found]},
    )
    if quiet or json == "-":
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("segment", "target", "series", "nights", "first", "last", "opened because"):
        table.add_column(name, overflow="fold", no_wrap=name in ("segment", "first", "last"))
    for segment, members in found:
        ends = [book.run(members[k]).started_at[:10] for k in (0, -1)] if members else ["", ""]
        table.add_row(segment.segment_id, segment.target, segment.series, str(len(members)), *ends, Text(segment.why))
    Console(highlight=False).print(table)
    return 0


def baseline_accept(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Run id, unique prefix, or last.")] = None,
    workload: Annotated[Path | None, typer.Option(help="Pin this workload instead of accepting a run.")] = None,
    name: Annotated[
        str, typer.Option(help="Name to pin the workload under; a plan's name pins it for that plan.")
    ] = "",
    why: Why = "accepted by hand",
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Accept a run as the new normal, or pin a workload that nights are judged on.

    Example: `gatebench baseline accept last --why "the new region is slower"`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from storage.errors import UsageError
    from tasks.characterise import pin

    book = _book(settings)
    if (run is None) == (workload is None):
        raise UsageError("accept what? give a RUN, or --workload W.parquet")
    if workload is not None:
        label = name if name else workload.stem
        workload_id = pin(book, label, workload, who=getpass.getuser(), why=why)
        said = f"pinned {workload} as {label!r} ({workload_id[:16]})"
    else:
        assert run is not None
        segments = book.accept(run, getpass.getuser(), why)
        said = "accepted into " + ", ".join(f"{s.target} {s.series} ({s.segment_id})" for s in segments)
    common.write_json(json, {"schema": "gatebench.baseline/1", "said": said})
    if not quiet and json != "-":
        typer.echo(said)
    return 0


def baseline_reject(
    run: Run, why: Why = "rejected by hand", json: Json = None, quiet: Quiet = False, home: Home = None
) -> int:
    """Take a run out of every baseline, for good.

    Example: `gatebench baseline reject last --why "the disk was full"`
    """
    settings = common.enter(home)
    left = _book(settings).reject(run, getpass.getuser(), why)
    common.write_json(json, {"schema": "gatebench.baseline/1", "rejected_from": left})
    if not quiet and json != "-":
        typer.echo(f"rejected from {', '.join(left)}" if left else "it was in no baseline, and now never will be")
    return 0


def _book(settings: "Settings") -> "Book":
    from storage.store import Book

    return Book(settings.book_path, settings.book_wait_s)
