"""Commands that put gatebench on a Prefect server: a local one, or somebody's."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet
from flows.cli_worker import (
    Wait,
    await_server,
    keep_settings_file,
    server_at_hand,
    server_named,
    stop_once,
    worker,
    working,
)

if TYPE_CHECKING:
    from deployments.change import Change
    from deployments.shipped import Asked

PlanFile = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="Plan of the nights. Absent: as deployed before.")
]
Cron = Annotated[
    str | None,
    typer.Option(help="When the night runs, as in '30 3 * * *'; not from 2 to 3, when the clocks change."),
]
Zone = Annotated[str | None, typer.Option("--timezone", help="Of the cron, as in Europe/Berlin.")]
PerTarget = Annotated[
    bool, typer.Option("--per-target", help="A night for each target of the plan, one after another, not a common one.")
]
NoNight = Annotated[
    float | None,
    typer.Option("--no-night-after", metavar="HOURS", min=0.003, help="Hours without a night before an alert [26]."),
]
Reset = Annotated[bool, typer.Option("--reset", help="Forget what was changed on the server; as shipped.")]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(deploy)
    app.command()(worker)


def deploy(
    plan: PlanFile = None,
    cron: Cron = None,
    timezone: Zone = None,
    per_target: PerTarget = False,
    no_night_after: NoNight = None,
    reset: Reset = False,
    wait: Wait = 0,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Deployments, automations and work pool on the Prefect server of PREFECT_API_URL; says what changed.

    What was set on the server stays as it is, unless an option speaks of it. With GATEBENCH_ALERT_URLS set, the server
    itself tells of crashed runs and of nights that did not happen.

    Example: `PREFECT_API_URL=http://127.0.0.1:4200/api gatebench deploy --plan my-gateway.toml`
    """
    settings = common.enter(home)
    server_named()
    _targets(plan, per_target)
    await_server(wait)
    common.quiet_prefect(settings.home_path)
    channels = [url.get_secret_value() for url in settings.alert_urls]
    changes = _apply(_asked(plan, cron, timezone, per_target, reset), channels, no_night_after)
    found = [{"what": c.what, "how": c.how, "fields": list(c.fields)} for c in changes]
    common.write_json(json, {"schema": "gatebench.deploy/1", "changes": found})
    if not quiet and json != "-":
        for change in changes:
            typer.echo(f"{change.how:<9}  {change.what}" + (f" ({', '.join(change.fields)})" if change.fields else ""))
    return 0


def up(
    port: Annotated[int, typer.Option(help="Of the Prefect server and its UI.")] = 4200,
    plan: PlanFile = None,
    cron: Cron = None,
    timezone: Zone = None,
    per_target: PerTarget = False,
    no_night_after: NoNight = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """A Prefect server, the deployments and a worker on this machine. Ctrl-C stops all of it.

    Example: `gatebench up --port 4200 --plan my-gateway.toml`
    """
    settings = common.enter(home)
    from deployments.local import server
    from storage.disk import make_folder

    _targets(plan, per_target)
    stop_once()
    folder = make_folder(settings.home_path)
    keep_settings_file()
    if not quiet:
        common.tell_of_the_first_wait(folder)
    try:
        with server(folder, port) as env:
            os.environ.update(env)
            common.quiet_prefect(folder)  # only now may Prefect be imported: it reads its settings then
            channels = [url.get_secret_value() for url in settings.alert_urls]
            changes = _apply(_asked(plan, cron, timezone, per_target), channels, no_night_after)
            found = {"ui": env["PREFECT_UI_URL"], "api": env["PREFECT_API_URL"], "logs": env["PREFECT_HOME"]}
            with working(env, folder, Path(env["PREFECT_HOME"]) / "worker.log") as wait_for_it:
                common.write_json(json, {"schema": "gatebench.up/1", **found})
                if not quiet and json != "-":
                    _say_up(env, changes)
                wait_for_it()
    except KeyboardInterrupt:
        if not quiet and json != "-":
            typer.echo("stopped", err=True)
    return 0


def _say_up(env: Mapping[str, str], changes: list["Change"]) -> None:
    typer.echo(f"Prefect's pages: {env['PREFECT_UI_URL']}   logs: {env['PREFECT_HOME']}")
    if "PREFECT_API_AUTH_STRING" in env:
        typer.echo(f"the pages ask for a password: all of the line in {env['PREFECT_HOME']}/auth")
    for change in changes:
        if change.how == "left out":
            typer.echo(f"left out: {change.what} ({', '.join(change.fields)})")
    deployments = sum("/" in change.what for change in changes)
    typer.echo(f"{deployments} deployments, one worker; Ctrl-C stops all of it")


def _targets(plan: Path | None, wanted: bool) -> tuple[str, ...]:
    """Names of the plan's targets, if wanted. Raises PlanError for a plan that no night could use, UsageError without
    one where it is needed."""
    from config.plan import load_plan
    from storage.errors import UsageError

    if wanted and plan is None:
        raise UsageError("--per-target needs --plan FILE: which targets are there?")
    names = () if plan is None else tuple(target.name for target in load_plan(plan).targets)
    return names if wanted else ()


def _asked(plan: Path | None, cron: str | None, timezone: str | None, per_target: bool, reset: bool = False) -> "Asked":
    """What the options say. Imports Prefect."""
    from deployments.shipped import Asked

    path = str(plan.resolve()) if plan is not None else None
    return Asked(path, cron, timezone, _targets(plan, per_target), reset)


def _apply(asked: "Asked", channels: list[str], no_night_after: float | None) -> list["Change"]:
    """Raises UsageError where no server answers, or another one."""
    import asyncio

    from deployments.everything import apply

    with server_at_hand():
        return asyncio.run(apply(asked, channels, no_night_after))
