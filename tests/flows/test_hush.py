"""What is left out of a run's log, and what is not."""

import logging
import os
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from flows.hush import WellEnded, hush, outlive_the_reader


def line(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("prefect.task_runs", level, __file__, 1, message, None, None)


def test_a_task_that_went_well_ends_in_silence_and_a_failure_is_heard() -> None:
    heard = WellEnded().filter
    assert not heard(line("Finished in state Completed()"))
    assert heard(line("Finished in state Failed('connection refused')", logging.ERROR))
    assert heard(line("alert to json: sent"))


def test_asking_twice_hushes_once() -> None:
    logger = logging.getLogger("prefect.task_runs")
    hush()
    hush()
    assert [type(one) for one in logger.filters].count(WellEnded) == 1


def test_a_console_whose_reader_is_gone_says_no_more_and_ends_nobody(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        console = Console(file=pipe)
        outlive_the_reader(console)
        console.print("into nothing")
        pipe.flush()
        console.print("and on")
        assert console.quiet


def test_the_consoles_of_prefect_outlive_their_readers() -> None:
    handler = PrefectConsoleHandler()
    logging.getLogger("prefect.flow_runs").addHandler(handler)
    try:
        hush()
        assert handler.console.on_broken_pipe.__qualname__.startswith("_quietly")
    finally:
        logging.getLogger("prefect.flow_runs").removeHandler(handler)
