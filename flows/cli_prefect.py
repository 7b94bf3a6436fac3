"""Commands that put gatebench on a Prefect server: a local one, or somebody's."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

if TYPE_CHECKING:
    from deployments.apply import Change

PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Plan that the nightly run measures.")]
Cron = Annotated[str | None, typer.Option(help="When the night runs, as in '30 3 * * *'.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="Of the cron, as in Europe/Berlin.")]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(deploy)


def deploy(
    plan: PlanFile = None,
    cron: Cron = None,
    timezone: Zone = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Deployments and work pool on the Prefect server of PREFECT_API_URL; says what changed.

    Example: `PREFECT_API_URL=http://127.0.0.1:4200/api gatebench deploy --plan my-gateway.toml`
    """
    settings = common.enter(home)
    if "PREFECT_API_URL" not in os.environ:
        from storage.errors import UsageError

        raise UsageError("which Prefect server? set PREFECT_API_URL, or use `gatebench up` for one on this machine")
    common.quiet_prefect(settings.home_path)
    changes = _apply(plan, cron, timezone)
    common.write_json(
        json, {"schema": "gatebench.deploy/1", "changes": [{"what": c.what, "how": c.how} for c in changes]}
    )
    if not quiet and json != "-":
        for change in changes:
            typer.echo(f"{change.how:<9}  {change.what}")
    return 0


def up(
    port: Annotated[int, typer.Option(help="Of the Prefect server and its UI.")] = 4200,
    plan: PlanFile = None,
    cron: Cron = None,
    timezone: Zone = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """A Prefect server, the deployments and a worker on this machine. Ctrl-C stops all of it.

    Example: `gatebench up --port 4200 --plan my-gateway.toml`
    """
    settings = common.enter(home)
    import time

    from deployments.local import server, worker
    from storage.disk import make_folder
    from storage.errors import GatebenchError

    common.stop_on_signals()
    folder = make_folder(settings.home_path)
    try:
        with server(folder, port) as env:
            os.environ.update(env)
            common.quiet_prefect(folder)
            changes = _apply(plan, cron, timezone)
            with worker(env, "gatebench", folder) as process:
                found = {"ui": env["PREFECT_UI_URL"], "api": env["PREFECT_API_URL"], "logs": env["PREFECT_HOME"]}
                common.write_json(json, {"schema": "gatebench.up/1", **found})
                if not quiet and json != "-":
                    typer.echo(f"Prefect's pages: {found['ui']}   logs: {found['logs']}")
                    typer.echo(f"{len(changes) - 1} deployments, one worker; Ctrl-C stops all of it")
                while process.poll() is None:
                    time.sleep(0.5)
            raise GatebenchError(f"the worker ended by itself; its last words are in {found['logs']}/worker.log")
    except KeyboardInterrupt:
        if not quiet and json != "-":
            typer.echo("stopped", err=True)
    return 0


def _apply(plan: Path | None, cron: str | None, timezone: str | None) -> list["Change"]:
    """Raises UsageError where the plan cannot be used or no server answers."""
    import asyncio

    import httpx

    from config.plan import load_plan
    from deployments.apply import apply, read, with_plan
    from storage.errors import UsageError

    if plan is not None:
        load_plan(plan)
    wanted = with_plan(read(), str(plan.resolve()) if plan is not None else None, cron, timezone)
    try:
        return asyncio.run(apply(wanted))
    except httpx.HTTPError as error:
        where = os.environ["PREFECT_API_URL"]
        raise UsageError(f"no Prefect server answers at {where} ({type(error).__name__}); is it up?") from None
