"""A worker for a Prefect server, and what `gatebench up` and `gatebench worker` share to keep one."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

Wait = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for the server to answer.")]
POOL = "gatebench"
STOP_S = 45.0  # for what runs to end in order; its hooks import the flow first


def worker(
    wait: Wait = 60,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """A worker on this machine, for the Prefect server of PREFECT_API_URL. Ctrl-C or SIGTERM cancels what it runs.

    It closes the runs that an earlier worker of this machine left behind, and keeps foreign modules out of ours.

    Example: `PREFECT_API_URL=http://127.0.0.1:4200/api gatebench worker`
    """
    settings = common.enter(home)
    server_named()
    from deployments.local import environment_elsewhere

    stop_once()
    keep_settings_file()
    os.environ.update(environment_elsewhere(settings.home_path))
    common.quiet_prefect(settings.home_path)
    found = {"api": os.environ["PREFECT_API_URL"], "pool": POOL}
    try:
        await_server(wait)
        with server_at_hand(), working(os.environ, settings.home_path, None) as wait_for_it:
            common.write_json(json, {"schema": "gatebench.worker/1", **found})
            if not quiet and json != "-":
                typer.echo(f"a worker for {found['api']}; Ctrl-C stops it")
            wait_for_it()
    except KeyboardInterrupt:
        if not quiet and json != "-":
            typer.echo("stopped", err=True)
    return 0


@contextmanager
def working(env: Mapping[str, str], folder: Path, log: Path | None) -> Iterator[Callable[[], None]]:
    """A worker as long as the block; yields how to wait until it ends, which it should not, or somebody stops us. Then
    nothing is left that Prefect takes for a running run."""
    import asyncio
    import time

    from config.settings import Settings
    from deployments.leftovers import here
    from deployments.local import worker as process_worker
    from deployments.unfinished import cancel, close
    from flows.aftermath import settle
    from storage.errors import GatebenchError

    for name in asyncio.run(close(POOL, here)):
        typer.echo(f"closed {name}, which an earlier stop left behind", err=True)
    for run_id in settle(Settings()):
        typer.echo(f"run {run_id} was interrupted; its rows are kept: gatebench show {run_id}", err=True)
    try:
        with process_worker(env, POOL, folder, log) as process:

            def wait_for_it() -> None:
                while process.poll() is None:
                    time.sleep(0.5)
                where = "above" if log is None else f"in {log}"
                raise GatebenchError(f"the worker ended by itself; its last words are {where}")

            try:
                yield wait_for_it
            except KeyboardInterrupt:
                typer.echo("stopping; a run under way is cancelled, and what it measured is kept", err=True)
                asyncio.run(cancel(POOL, STOP_S))
                raise
    finally:
        asyncio.run(close(POOL, here))


@contextmanager
def server_at_hand() -> Iterator[None]:
    """Raises UsageError where no server answers, or another one."""
    import httpx

    from storage.errors import UsageError

    where = os.environ["PREFECT_API_URL"]
    try:
        yield
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code == 401:
            raise UsageError(f"{where} refuses us (401); set PREFECT_API_AUTH_STRING to what it expects") from None
        raise UsageError(f"{where} answers {code}; is it the URL of a Prefect server, ending in /api?") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(f"no Prefect server answers at {where} ({type(error).__name__}); is it up?") from None


def server_named() -> None:
    from storage.errors import UsageError

    if not os.environ.get("PREFECT_API_URL"):
        raise UsageError("which Prefect server? set PREFECT_API_URL, or use `gatebench up` for one on this machine")


def await_server(seconds: float) -> None:
    """Until the server says that it is well, at most so long; whoever uses it then says why it cannot."""
    import time
    import urllib.request

    health = f"{os.environ['PREFECT_API_URL']}/health"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError), urllib.request.urlopen(health, timeout=2):  # noqa: S310 - the server's URL
            return
        time.sleep(0.5)


def keep_settings_file() -> None:
    """A flow runs in a folder of its own, and needs the settings of this one."""
    if Path("gatebench.toml").is_file():
        os.environ.setdefault("GATEBENCH_SETTINGS", str(Path("gatebench.toml").resolve()))


def stop_once() -> None:
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
