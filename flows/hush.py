"""A run's log is its story. That each of forty legs went well is in the picture of the run, not in the log; and a run
goes on when nobody reads its log any more."""

import logging
import os
from collections.abc import Callable, Iterator

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console


class WellEnded(logging.Filter):
    """Drops the line with which Prefect ends a task that completed; failures, and lines of tasks, stay."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or not record.getMessage().startswith("Finished in state Completed(")


def hush() -> None:
    """In this process, once however often it is asked."""
    logger = logging.getLogger("prefect.task_runs")
    if not any(isinstance(one, WellEnded) for one in logger.filters):
        logger.addFilter(WellEnded())
    for console in _consoles():
        outlive_the_reader(console)


def outlive_the_reader(console: Console) -> None:
    """The pipe that a console writes to ends when its worker dies, or with `| head`. By itself it would end us too."""
    console.on_broken_pipe = _quietly(console)  # type: ignore[method-assign]


def _quietly(console: Console) -> Callable[[], None]:
    def say_no_more() -> None:
        console.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, console.file.fileno())  # what is still buffered must not fail at exit
        os.close(nowhere)

    return say_no_more


def _consoles() -> Iterator[Console]:
    """Of Prefect's own handlers."""
    for name in ("prefect", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                yield handler.console
