"""A run that ended before its time goes on at the next leg: which run that may be, and the flow that does it."""

import asyncio
from typing import Any

from prefect import State, flow

from config.settings import Settings
from flows.aftermath import MEASURING
from flows.earlier import ORDER, to_resume
from flows.line import run_line
from flows.order import order_from
from flows.refused import refused
from storage.errors import GatebenchError
from storage.store import Book


@flow(name="resume", flow_run_name="resume {run}", **MEASURING)
async def resume(run: str = "last") -> State[Any]:
    """Go on with a run that was interrupted, cancelled or failed: legs that are whole are not measured again.

    It is judged as it would have been, says that it was resumed, and never enters a baseline.

    Args:
        run: Id of a run, a prefix that only one run has, or last.
    """
    try:
        settings = Settings()
        found = await asyncio.to_thread(to_resume, run, Book(settings.book_path, settings.book_wait_s), settings)
    except GatebenchError as error:
        return refused(error)
    return await run_line(order_from(found.environment[ORDER], found.plan), found)
