"""What is left out of a run's log, and what is not."""

import logging

from flows.hush import WellEnded, hush


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
