"""Commands on what goes on from night to night: incidents and trends."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from storage.records import Change, Incident
    from storage.watch import Watch

Number = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its number, as in `gatebench incidents`.")]
Why = Annotated[str, typer.Option("--why", help="Said in the book beside the change.")]
All = Annotated[bool, typer.Option("--all", help="Those that are over too.")]
STYLES = {"open": "bold red", "acknowledged": "yellow", "accepted": "cyan", "fixed": "green"}


def register(app: typer.Typer) -> None:
    incidents = typer.Typer(help="What got worse and stayed so: open, acknowledged, accepted or fixed.")
    incidents.callback(invoke_without_command=True)(incidents_here)
    incidents.command("list")(incidents_list)
    incidents.command("show")(incidents_show)
    incidents.command("ack")(incidents_ack)
    incidents.command("accept")(incidents_accept)
    app.add_typer(incidents, name="incidents")
    app.command()(trend)


def incidents_here(
    context: typer.Context, everything: All = False, json: Json = None, quiet: Quiet = False, home: Home = None
) -> None:
    """What got worse and stayed so: open, acknowledged, accepted or fixed.

    Example: `gatebench incidents --all`
    """
    if context.invoked_subcommand is None:
        incidents_list(everything, json, quiet, home)


def incidents_list(everything: All = False, json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """Open incidents, newest first.

    Example: `gatebench incidents list --all`
    """
    watch = _watch(home)
    found = watch.incidents(closed=everything)
    common.write_json(json, {"schema": "gatebench.incidents/1", "incidents": [_as_json(one) for one in found]})
    if quiet or json == "-":
        return 0
    if not found:
        closed = 0 if everything else len(watch.incidents(closed=True))
        typer.echo(
            f"no open incidents; {closed} that are over: gatebench incidents --all" if closed else "no incidents"
        )
        return 0
    table = _table("", "status", "what", "since", "last seen", "against")
    for one in found:
        table.add_row(
            one.incident_id,
            _status(one),
            "\n".join(_symptoms(one)),
            one.since[:10],
            _night(one.regressed_run),
            one.against.split(",")[0],
        )
    console = _console()
    console.print(table)
    console.print(f"\ngatebench incidents show {found[0].incident_id}  tells more of one", style="dim")
    return 0


def incidents_show(incident: Number, json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """One incident: what, how much, since when, against which nights, and who said what of it.

    Example: `gatebench incidents show 1`
    """
    watch = _watch(home)
    one = watch.incident(incident)
    changes = watch.changes(incident_id=one.incident_id)
    from storage.records import to_json

    told = [to_json(change) for change in changes]
    common.write_json(json, {"schema": "gatebench.incident/1", **_as_json(one), "changes": told})
    if not quiet and json != "-":
        _show(one, changes, _console())
    return 0


def incidents_ack(
    incident: Number, why: Why = "seen", json: Json = None, quiet: Quiet = False, home: Home = None
) -> int:
    """Say that somebody knows of it. Its nights stay out of the baseline until it is accepted or fixed.

    Example: `gatebench incidents ack 1 --why "asked the provider"`
    """
    one = _watch(home).acknowledge(incident, getpass.getuser(), why)
    common.write_json(json, {"schema": "gatebench.incident/1", **_as_json(one)})
    if not quiet and json != "-":
        typer.echo(f"incident {one.incident_id} is acknowledged")
    return 0


def incidents_accept(
    incident: Number, why: Why = "accepted by hand", json: Json = None, quiet: Quiet = False, home: Home = None
) -> int:
    """Say that it is the new normal: the last night it was seen on is the first of a new segment.

    Example: `gatebench incidents accept 1 --why "the new model is slower"`
    """
    watch = _watch(home)
    opened = watch.accept(incident, getpass.getuser(), why)
    one = watch.incident(incident)
    segments = [segment.segment_id for segment in opened]
    common.write_json(json, {"schema": "gatebench.incident/1", **_as_json(one), "segments": segments})
    if not quiet and json != "-":
        typer.echo(f"incident {one.incident_id} is accepted; from now on nights are judged in {', '.join(segments)}")
    return 0


def trend(
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="Only this target.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="As latency_p95; several times for several.")
    ] = None,
    level: Annotated[int | None, typer.Option(help="One level; else the mean over levels.")] = None,
    nights: Annotated[int, typer.Option(min=2, max=1000, help="How many nights back.")] = 60,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page for the weeks, earlier workloads and plans included."),
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Numbers night by night, with their slope, what drifts, and the nights on which they changed.

    Example: `gatebench trend --metric latency_p95 --nights 90`
    """
    settings = common.enter(home)
    from flows import trends
    from storage.store import Book
    from tasks.trend import METRICS, write_weeks

    watch = Book(settings.book_path, settings.book_wait_s).watch
    asked: dict[str, Any] = {"target": target, "level": level, "nights": nights}
    lines = trends.found_lines(watch, metric or METRICS, **asked)
    page = None
    if html is not None:
        page = write_weeks(html, trends.found_lines(watch, metric or METRICS, every=True, **asked), settings)
    common.write_json(json, trends.as_json(lines) | ({} if page is None else {"page": str(page)}))
    if not quiet and json != "-":
        trends.render(lines, _console())
        if page is not None:
            typer.echo(f"page: {page}")
    return 0


def _watch(home: Any) -> "Watch":
    settings = common.enter(home)
    from storage.store import Book

    return Book(settings.book_path, settings.book_wait_s).watch


def _show(one: "Incident", changes: "list[Change]", console: "Console") -> None:
    from rich.text import Text

    console.print(f"Incident {one.incident_id}, [{STYLES[one.status]}]{one.status}[/]: {one.target} {one.series}")
    facts = _table()
    facts.add_row("what", "\n".join(_symptoms(one)))
    facts.add_row("since", f"{one.since}" + (f", found {one.opened_at}" if one.since != one.opened_at else ""))
    facts.add_row("against", one.against)
    facts.add_row("last seen", one.regressed_run)
    if one.closed_at is not None:
        facts.add_row("over", one.closed_at)
    elif one.inside:
        facts.add_row("inside again", f"{one.inside} of 3 nights")
    console.print(facts)
    history = _table("when", "", "who", "what", "why")
    for change in changes:
        said = (change.action, change.who, change.what, change.why)
        history.add_row(change.said_at[:16].replace("T", " "), *(Text(text) for text in said))
    console.print()
    console.print(history)
    if one.closed_at is None:
        console.print()
        for command, does in (
            (f"gatebench show {one.regressed_run}", "the last night it was seen on"),
            (f"gatebench trend {one.target} --metric {one.symptoms[0].metric}", "all nights"),
            (f"gatebench incidents ack {one.incident_id} --why …", "somebody knows"),
            (f"gatebench incidents accept {one.incident_id} --why …", "it is the new normal"),
        ):
            console.print(f"[dim]{command}  {does}[/]")


def _symptoms(one: "Incident") -> list[str]:
    from tasks.charts.words import as_moved, metric_words, place_words, signed

    found = []
    for s in one.symptoms:
        moved = "" if s.effect is None else f" {signed(as_moved(s.metric, s.effect))} %"
        found.append(f"{one.target} {metric_words(s.metric)} {place_words(one.series, s.level)}{moved}")
    return found


def _as_json(one: "Incident") -> dict[str, Any]:
    from storage.records import to_json

    return to_json(one)


def _night(run_id: str) -> str:
    """20261105T020000Z-… -> 2026-11-05."""
    day = run_id[:8]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day.isdigit() else run_id


def _status(one: "Incident") -> str:
    return f"[{STYLES[one.status]}]{one.status}[/]"


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=bool(names))
    for name in names or ("", ""):
        table.add_column(name, overflow="fold")
    return table


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)
