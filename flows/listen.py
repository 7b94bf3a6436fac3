"""Who hears how a run goes: the run's log in Prefect, and a terminal where there is one."""

from contextvars import ContextVar
from typing import Protocol

from prefect import get_run_logger


class Listener(Protocol):
    def say(self, text: str) -> None: ...
    def progress(self, done: int, total: int, label: str) -> None: ...


class Silence:
    def say(self, text: str) -> None:
        return None

    def progress(self, done: int, total: int, label: str) -> None:
        return None


LISTENER: ContextVar[Listener] = ContextVar("listener", default=Silence())  # noqa: B039 - it holds nothing


def say(text: str) -> None:
    """One line of the story: to the run's log and to whoever listens."""
    get_run_logger().info("%s", text)
    LISTENER.get().say(text)


def progress(done: int, total: int, label: str) -> None:
    LISTENER.get().progress(done, total, label)
