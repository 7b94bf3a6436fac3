"""Who hears how a run goes: the run's log in Prefect, and a terminal where there is one."""

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prefect import get_run_logger


@dataclass(frozen=True, slots=True)
class Under:
    """A leg that begins now. `seconds`: how long it will probably take, `left_s`: it and all that come after it; None:
    nobody can tell yet."""

    label: str
    number: int  # from 1
    total: int
    folder: Path
    requests: int  # measured; 0: as many as its schedule holds
    seconds: float | None
    left_s: float | None


class Listener(Protocol):
    def say(self, text: str) -> None: ...
    def begin(self, leg: Under) -> None: ...
    def end(self, done: int, total: int) -> None: ...


class Silence:
    def say(self, text: str) -> None:
        return None

    def begin(self, leg: Under) -> None:
        return None

    def end(self, done: int, total: int) -> None:
        return None


LISTENER: ContextVar[Listener] = ContextVar("listener", default=Silence())  # noqa: B039 - it holds nothing


# Ids of the runs that were begun, for whoever has to name one when a flow ends without a result.
BEGUN: ContextVar[list[str]] = ContextVar("begun", default=[])  # noqa: B039 - a command sets a list of its own


def say(text: str) -> None:
    """One line of the story: to the run's log and to whoever listens."""
    get_run_logger().info("%s", text)
    LISTENER.get().say(text)
