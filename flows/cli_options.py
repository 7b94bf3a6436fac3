"""Options that several measuring commands take, each said once, and what their words mean."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import AllowHost, Home, Json, Quiet

if TYPE_CHECKING:
    from config.settings import Settings

Url = Annotated[str | None, typer.Option(help="OpenAI base URL, as in http://127.0.0.1:4000/v1.")]
Model = Annotated[str, typer.Option(help="Model to ask for.")]
Name = Annotated[str, typer.Option(help="Name of the target in tables.")]
KeyEnv = Annotated[str, typer.Option("--api-key-env", metavar="NAME", help="Environment variable that holds the key.")]
PlanFile = Annotated[str | None, typer.Option("--plan", metavar="FILE", help="Take target and limits from a plan.")]
TargetName = Annotated[str | None, typer.Option("--target", metavar="NAME", help="Which target of the plan.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the plan, as in budget.usd=2; repeatable.")
]
Slos = Annotated[list[str] | None, typer.Option("--slo", help="Objective, as in 'p95(latency) < 500ms'; repeatable.")]
Workload = Annotated[str, typer.Option(help="Parquet file or pinned name; absent: the built-in workload.")]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write the verdicts as JUnit XML, which CI shows.")
]
# open loop
Sessions = Annotated[bool, typer.Option("--sessions", help="A turn waits for the end of the turn before it.")]
InFlight = Annotated[int, typer.Option("--max-in-flight", help="Most requests under way at once.")]
OnFull = Annotated[str, typer.Option("--on-full", metavar="WHAT", help="At --max-in-flight: queue, drop or abort.")]
Spin = Annotated[bool, typer.Option("--spin", help="Spend a core on starting within microseconds.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What a measuring command is told of itself: whom it may ask, and what it writes where."""

    allow_host: AllowHost = None
    json: Json = None
    junit: Junit = None
    quiet: Quiet = False
    home: Home = None

    def enter(self) -> "Settings":
        return common.enter(self.home, self.allow_host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What of a sweep is asked for."""

    requests: Annotated[int | None, typer.Option(help="Measured requests a level and target (1000).")] = None
    concurrency: Annotated[str | None, typer.Option(help="Levels, as in 1,10,50,100.")] = None
    blocks: Annotated[int | None, typer.Option(help="Passes over all levels (5); at least 3 to judge by.")] = None
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="Streamed answers (on).")] = None

    def given(self) -> dict[str, Any]:
        """By the names of a plan. Raises UsageError."""
        levels = levels_of(self.concurrency)
        asked = {"requests": self.requests, "levels": levels, "blocks": self.blocks, "stream": self.stream}
        return {key: value for key, value in asked.items() if value is not None}


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """`command` as Typer wants it: in place of a group (a dataclass of options, like How) the options themselves."""
    asked = signature(command).parameters.values()
    groups: dict[str, Any] = {each.name: each.annotation for each in asked if is_dataclass(each.annotation)}

    @wraps(command)
    def spread_out(**given: Any) -> int:
        for name, group in groups.items():
            given[name] = group(**{option.name: given.pop(option.name) for option in fields(group)})
        return command(**given)

    options = ([each] if each.name not in groups else signature(each.annotation).parameters.values() for each in asked)
    vars(spread_out)["__signature__"] = Signature([option for some in options for option in some])
    return spread_out


def levels_of(text: str | None) -> list[int] | None:
    """Raises UsageError."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        from storage.errors import UsageError

        raise UsageError(f"--concurrency {text}: write it like 1,10,50,100") from None


def seconds(text: str) -> float | None:
    """A time like 30s or 5m; empty: None."""
    from tasks.workload.trace import parse_window

    end = parse_window(text)[1] if text else None
    return None if end is None else end / 1e9


def models_of(texts: list[str] | None) -> dict[str, str]:
    """`gpt-4o=small` -> the model that is asked for in its place. Raises UsageError."""
    pairs = [text.partition("=") for text in texts or []]
    for asked, sign, _ in pairs:
        if not sign:
            from storage.errors import UsageError

            raise UsageError(f"--map-model {asked}: write it like gpt-4o=small")
    return {asked: served for asked, _, served in pairs}


def changes_of(part: str, given: dict[str, Any]) -> list[str]:
    """Options as changes to a plan: `sweep.requests=500`."""
    return [f"{part}.{key}={_toml(value)}" for key, value in given.items()]


def plan_path(plan: str) -> str:
    """A file by its absolute path, for a flow works elsewhere; a shipped name as it is."""
    return str(Path(plan).resolve()) if Path(plan).exists() else plan


def need_url(url: str | None) -> str:
    """Raises UsageError."""
    if url is None:
        from storage.errors import UsageError

        raise UsageError("which target? give --url http://HOST:PORT/v1, or --plan FILE")
    return url


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
