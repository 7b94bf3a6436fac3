"""Commands that put gatebench on a Prefect server: a local one, or somebody's."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

if TYPE_CHECKING:
    from deployments.apply import Change

PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Plan that the nightly run measures.")]
Cron = Annotated[
    str | None,
    typer.Option(help="When the night runs, as in '30 3 * * *'; not from 2 to 3, when the clocks change."),
]
Zone = Annotated[str | None, typer.Option("--timezone", help="Of the cron, as in Europe/Berlin.")]
POOL = "gatebench"


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
    if not os.environ.get("PREFECT_API_URL"):
        from storage.errors import UsageError

        raise UsageError("which Prefect server? set PREFECT_API_URL, or use `gatebench up` for one on this machine")
    _check(plan)
    common.quiet_prefect(settings.home_path)
    changes = _apply(_wanted(plan, cron, timezone))
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

    _check(plan)
    _stop_once()
    folder = make_folder(settings.home_path)
    if Path("gatebench.toml").is_file():  # a flow runs in a folder of its own
        os.environ.setdefault("GATEBENCH_SETTINGS", str(Path("gatebench.toml").resolve()))
    try:
        with server(folder, port) as env:
            os.environ.update(env)
            common.quiet_prefect(folder)  # only now may Prefect be imported: it reads its settings then
            _work(env, folder, _wanted(plan, cron, timezone), json, quiet or json == "-")
    except KeyboardInterrupt:
        if not quiet and json != "-":
            typer.echo("stopped", err=True)
    return 0


def _work(env: Mapping[str, str], folder: Path, wanted: list[dict[str, Any]], json: str | None, quiet: bool) -> None:
    """Deployments and a worker, until somebody stops us; then nothing is left that Prefect takes for a running run."""
    import asyncio
    import time

    from deployments.local import worker
    from deployments.unfinished import cancel, close, flow_works
    from storage.errors import GatebenchError

    deployments = len(_apply(wanted)) - 1
    for name in asyncio.run(close(POOL, flow_works)):
        typer.echo(f"closed {name}, which an earlier stop left behind", err=True)
    found = {"ui": env["PREFECT_UI_URL"], "api": env["PREFECT_API_URL"], "logs": env["PREFECT_HOME"]}
    try:
        with worker(env, POOL, folder) as process:
            common.write_json(json, {"schema": "gatebench.up/1", **found})
            if not quiet:
                typer.echo(f"Prefect's pages: {found['ui']}   logs: {found['logs']}")
                if "PREFECT_API_AUTH_STRING" in env:
                    typer.echo(f"the pages ask for a password: all of the line in {found['logs']}/auth")
                typer.echo(f"{deployments} deployments, one worker; Ctrl-C stops all of it")
            try:
                while process.poll() is None:
                    time.sleep(0.5)
            except KeyboardInterrupt:
                typer.echo("stopping; a run under way is cancelled, and what it measured is kept", err=True)
                asyncio.run(cancel(POOL))
                raise
    finally:
        asyncio.run(close(POOL, flow_works))
    raise GatebenchError(f"the worker ended by itself; its last words are in {found['logs']}/worker.log")


def _stop_once() -> None:
    """The first Ctrl-C, SIGTERM or hang-up begins the stop; a second one must not cut it short."""
    kinds = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        kinds.append(signal.SIGHUP)

    def stop(*_: object) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    for kind in kinds:
        signal.signal(kind, stop)


def _check(plan: Path | None) -> None:
    """Raises PlanError for a plan that no night could use."""
    from config.plan import load_plan

    if plan is not None:
        load_plan(plan)


def _wanted(plan: Path | None, cron: str | None, timezone: str | None) -> list[dict[str, Any]]:
    """The deployments, with the options laid over the nightly one. Raises UsageError."""
    from deployments.apply import read, with_plan

    return with_plan(read(), str(plan.resolve()) if plan is not None else None, cron, timezone)


def _apply(wanted: list[dict[str, Any]]) -> list["Change"]:
    """Raises UsageError where no server answers, or another one."""
    import asyncio

    import httpx

    from deployments.apply import apply
    from storage.errors import UsageError

    where = os.environ["PREFECT_API_URL"]
    try:
        return asyncio.run(apply(wanted))
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code == 401:
            raise UsageError(f"{where} refuses us (401); set PREFECT_API_AUTH_STRING to what it expects") from None
        raise UsageError(f"{where} answers {code}; is it the URL of a Prefect server, ending in /api?") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(f"no Prefect server answers at {where} ({type(error).__name__}); is it up?") from None
