"""What all commands share: options, settings, and how a flow is run from a terminal."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from config.plan import Plan
    from config.settings import Settings
    from flows.ground import Headers

Json = Annotated[str | None, typer.Option("--json", metavar="PATH", help="Write the result as JSON; - is stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Home = Annotated[Path | None, typer.Option("--home", metavar="DIR", help="Data root (GATEBENCH_HOME, ./.gatebench).")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="HOST", help="Allow a target that is not this machine.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 17 when the verdict is inconclusive.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, a prefix that only one run has, or last.")]


def enter(home: Path | None = None, allow: list[str] | None = None) -> "Settings":
    """Settings of this command: options are laid over the environment, where flows and workers find them too."""
    if home is not None:
        os.environ["GATEBENCH_HOME"] = str(home.expanduser().resolve())
    if allow:
        before = os.environ.get("GATEBENCH_ALLOWED_HOSTS", "")
        os.environ["GATEBENCH_ALLOWED_HOSTS"] = ",".join(filter(None, [before, *allow]))
    from config.settings import Settings
    from storage.disk import keep_private

    keep_private()
    settings = Settings()
    os.environ["GATEBENCH_HOME"] = str(settings.home_path)
    return settings


def tell(text: str) -> None:
    """Text for people, on stderr; folded between words where that is a terminal, for a path or command stays whole."""
    if sys.stderr.isatty():
        width = max(get_terminal_size().columns, 40)
        lines = [wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")]
        text = "\n".join("\n".join(line) for line in lines)
    typer.echo(text, err=True)


def tell_of_the_first_wait(home: Path) -> None:
    """Why the first Prefect server of a data root takes long to come up; nothing, where it is not the first."""
    elsewhere = any(f"PREFECT_{part}DATABASE_CONNECTION_URL" in os.environ for part in ("", "API_", "SERVER_"))
    if not elsewhere and not (home / "prefect" / "prefect.db").exists():
        tell("first run here: Prefect lays out its history, which takes some ten seconds, once")


def quiet_prefect(home: Path) -> None:
    """Prefect's own defaults for a run from the terminal: history under the data root, no lines of its own, no
    analytics. Whoever has set a variable keeps it."""
    for name, value in {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ:
        from deployments.local import sign_in

        sign_in(home, os.environ["PREFECT_API_URL"])
    elif "PREFECT_HOME" not in os.environ:
        from storage.disk import make_folder

        os.environ["PREFECT_HOME"] = str(make_folder(home / "prefect"))


def reach(plan: "Plan", settings: "Settings") -> "Headers":
    """Ask each target once, before a Prefect server is started for the run: a wrong URL is told at once. What they said
    goes to `run_flow`, so that the flow need not ask again. Raises TargetError."""
    from flows.ground import probe_all

    return asyncio.run(probe_all(plan.here(settings.timeouts)))


def run_flow(call: Callable[[], Awaitable[Any]], quiet: bool, probed: "Headers | None" = None) -> dict[str, Any]:
    """Run a flow that returns a State; its data, with `exit_code`. A failed flow raises what it says, and anything that
    the world did to it (a Prefect server that went away, a full disk) is a GatebenchError, see `flows.crossing`."""
    from flows import stopping
    from flows.crossing import told
    from flows.ground import PROBED
    from flows.listen import BEGUN, LISTENER
    from flows.terminal import Terminal
    from storage.errors import Interrupted

    begun: list[str] = []

    async def go() -> dict[str, Any]:
        LISTENER.set(terminal)
        BEGUN.set(begun)
        PROBED.set(probed)
        state = await call()
        data = await state.aresult(raise_on_failure=False)
        if isinstance(data, BaseException):
            raise data
        return dict(data)

    with prefect_at_hand(quiet) as where, Terminal(quiet) as terminal:
        try:
            data = stopping.run(go(), terminal)
        except BaseException as error:
            said = told(error, where, Path(os.environ["GATEBENCH_HOME"]))
            if isinstance(said, KeyboardInterrupt | Interrupted) and begun:
                raise Interrupted(interrupted_words(begun[-1])) from error
            if said is error:
                raise
            raise said from error
    if "error" in data:
        raise_as(data["error"], data["exit_code"])
    return data


def interrupted_words(run_id: str) -> str:
    return f"interrupted; what was measured so far is kept: gatebench show {run_id}, gatebench resume {run_id}"


@contextmanager
def prefect_at_hand(quiet: bool = True) -> Iterator[str]:
    """Before a flow: room for what it keeps, and the server of PREFECT_API_URL or one of our own while it runs; yields
    where its API is. Unless `quiet`, whoever waits for the first server of a data root is told why.

    Prefect would start one by itself, but in our process group: Ctrl-C would end it together with us, and the run could
    never be marked as cancelled. Raises StorageError, and UsageError where no Prefect server can be had.
    """
    from deployments.local import server_of_our_own
    from storage.disk import need_space
    from storage.errors import UsageError

    home = Path(os.environ["GATEBENCH_HOME"])
    need_space(home)
    if "PREFECT_API_URL" not in os.environ:
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

        from flows.slots import SHARED

        if not quiet:
            tell_of_the_first_wait(home)
        with (
            server_of_our_own(home) as env,
            temporary_settings(
                {PREFECT_API_URL: env["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: env.get("PREFECT_API_AUTH_STRING")}
            ),
        ):
            token = SHARED.set(False)
            try:
                yield env["PREFECT_API_URL"]
            finally:
                SHARED.reset(token)
                _send_the_rest()
        return
    try:
        yield os.environ["PREFECT_API_URL"]
    except RuntimeError as error:
        if "Failed to reach API" in str(error):
            where = os.environ["PREFECT_API_URL"]
            raise UsageError(
                f"no Prefect server answers at {where}; start it, or unset PREFECT_API_URL to do without"
            ) from error
        raise


def _send_the_rest() -> None:
    """Prefect's queues of events and logs, before their server stops: at exit they would wait a minute for it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for queue in (EventsWorker, APILogWorker):
        queue.drain_all(timeout=10)


def stop_on_signals() -> None:
    """SIGTERM ends a command as Ctrl-C does; and Ctrl-C does so even where a shell started us in the background with it
    ignored, which our own processes would inherit."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, stop)


def raise_as(text: str, code: int) -> None:
    """The error of a flow, again an exception."""
    from storage.errors import GatebenchError

    error = GatebenchError(text)
    error.exit_code = code
    raise error


def to_the_width(words: str) -> str:
    """Lines that fit the terminal; as they are where there is none."""
    from tasks.workload.words import narrowed

    return narrowed(words, max(get_terminal_size().columns, 60)) if sys.stdout.isatty() else words


def write_json(target: str | None, value: Any) -> None:
    """To a path or stdout. Raises StorageError."""
    if target is None:
        return
    text = json.dumps(value, indent=2, default=str)
    if target == "-":
        sys.stdout.write(text + "\n")
        return
    from storage.disk import give

    give(Path(target), text + "\n")


def show_run(run_id: str, settings: "Settings", *, json_to: str | None, quiet: bool) -> None:
    """The summary of a run on stdout, unless stdout carries JSON."""
    if quiet or json_to == "-":
        return
    from rich.console import Console

    from tasks.publish import view_of
    from tasks.report.terminal import render_terminal

    render_terminal(view_of(run_id, settings), Console(highlight=False))
