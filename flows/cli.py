"""`gatebench …`: one command a sentence. A command imports what it needs when it runs, so that `--help` is quick."""

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.models import CommandInfo, TyperInfo

from flows import (
    cli_aa,
    cli_book,
    cli_ceiling,
    cli_compare,
    cli_copies,
    cli_doctor,
    cli_export,
    cli_incidents,
    cli_measure,
    cli_memory,
    cli_operate,
    cli_prefect,
    cli_resume,
    cli_workload,
)
from flows.cli_common import tell

app = typer.Typer(
    name="gatebench",
    help="A nightly benchmark for LLM gateways that can be trusted: capture, replay, sweep, judge, alert.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gatebench {version('gatebench')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Every command explains itself: `gatebench COMMAND --help`."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


PARTS = (
    cli_measure,
    cli_resume,
    cli_book,
    cli_ceiling,
    cli_compare,
    cli_aa,
    cli_workload,
    cli_copies,
    cli_memory,
    cli_incidents,
    cli_export,
    cli_operate,
    cli_doctor,
    cli_prefect,
)
# In `--help` the commands stand by what they are for.
PANELS = {
    "Begin": "quickstart init doctor simulate",
    "Measure": "nightly sweep load ceiling replay compare aa resume",
    "Logs and workloads": "capture profile synth fidelity",
    "Results": "show report runs trend judge export",
    "Memory": "baseline incidents backup rebuild prune",
    "Every night, in Prefect": "up deploy worker",
}


def _arrange() -> None:
    """Register every command, in the order of the panels."""
    for part in PARTS:
        part.register(app)
    panels = {name: panel for panel, names in PANELS.items() for name in names.split()}
    order = list(panels)
    every: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for each in every:
        each.rich_help_panel = panels.get(name_of(each), "Others")
    app.registered_commands.sort(key=lambda each: [*order, name_of(each)].index(name_of(each)))


def name_of(each: CommandInfo | TyperInfo) -> str:
    """Of a command as the user writes it."""
    if isinstance(each, CommandInfo):
        return str(getattr(each.callback, "__name__", "") if each.name is None else each.name)
    return str(each.name)


_arrange()


def main() -> None:
    """Run a command; every error is one sentence on stderr and an exit code of the contract."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    os.environ.setdefault("DO_NOT_TRACK", "1")  # before Prefect is imported, which tells its makers of the first time
    from pydantic import ValidationError

    from config.plan import PlanError
    from storage.errors import GatebenchError

    try:
        code = app(arguments, standalone_mode=False)
    except TyperException as error:
        return _say(error.format_message(), 2)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except PlanError as error:
        return _say(str(error), 2)
    except ValidationError as error:
        first = error.errors()[0]
        where = "GATEBENCH_" + "__".join(str(part) for part in first["loc"]).upper()
        return _say(f"settings: {where}: {first['msg']}", 2)
    except GatebenchError as error:
        return _say(str(error), error.exit_code)
    if code == 130:
        return _say("interrupted; what was measured so far is kept", 130)
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    if text:  # empty: help was printed
        tell(f"gatebench: {text}")
    return code


if __name__ == "__main__":
    main()
