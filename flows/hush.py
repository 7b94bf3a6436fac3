"""A run's log is its story. That each of forty legs went well is in the picture of the run, not in the log."""

import logging


class WellEnded(logging.Filter):
    """Drops the line with which Prefect ends a task that completed; failures, and lines of tasks, stay."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or not record.getMessage().startswith("Finished in state Completed(")


def hush() -> None:
    """In this process, once however often it is asked."""
    logger = logging.getLogger("prefect.task_runs")
    if not any(isinstance(one, WellEnded) for one in logger.filters):
        logger.addFilter(WellEnded())
