"""Runs that ended without a word: closed in the book, what they measured made readable, and told."""

from collections.abc import Callable
from typing import Any

import polars as pl
from prefect.events import emit_event
from prefect.logging import get_logger
from pydantic import ValidationError

from config.plan import Plan
from config.settings import Settings
from flows.earlier import FLOW_RUNS
from flows.ground import alive
from storage.errors import GatebenchError
from storage.files import RunFiles
from storage.records import Run, RunStatus
from storage.store import Book
from tasks.alert import failed_words, tell
from tasks.alerts.channels import send
from tasks.alerts.message import Message, clean
from tasks.summarise import summarise_run

TOLD = "gatebench.end.told"  # of a flow run that ended without a verdict
BACK = 20  # runs that are looked through for one that nobody was told of
ENDED = (RunStatus.INTERRUPTED, RunStatus.CANCELLED, RunStatus.FAILED)


def settle(settings: Settings, works: Callable[[int], bool] = alive, *, goes_on: str | None = None) -> list[str]:
    """Runs of this machine whose process is gone become interrupted; ids of them. Each is told once, also one that
    another command has marked, but not one that goes on now. `works`: is there a process with this id?"""
    book = Book(settings.book_path, settings.book_wait_s)
    ended = book.mark_interrupted(works)
    for run_id in ended:
        make_readable(run_id, settings)
    for run in book.runs(BACK):
        if run.status == RunStatus.INTERRUPTED and run.run_id != goes_on:
            _tell(run, settings)
    return ended


def make_readable(run_id: str, settings: Settings) -> None:
    """What a run measured before it ended can be shown: its manifest tells the end, its whole legs are estimated."""
    run = Book(settings.book_path, settings.book_wait_s).run(run_id)
    try:
        RunFiles(settings.runs_path, run_id).write_run(run)
        summarise_run(Plan.model_validate(run.plan), run_id, settings)
    except (GatebenchError, ValidationError, pl.exceptions.PolarsError) as error:  # the run has ended all the same
        get_logger("gatebench").warning("what run %s measured cannot be shown: %s", run_id, error)


def end_of(flow_run: str, name: str, deployed: bool, said: str, settings: Settings) -> bool:
    """A Prefect run crashed, failed or was cancelled: tell of it, unless the run itself has. One that never came as far
    as the book is told only where a deployment made it: whoever typed a command has been told. Returns whether whoever
    wants to know of it knows, as far as this machine has channels."""
    settle(settings)
    runs = Book(settings.book_path, settings.book_wait_s).runs(BACK)
    run = next((run for run in runs if flow_run in run.environment.get(FLOW_RUNS, ())), None)
    if run is None and deployed:
        urls = [url.get_secret_value() for url in settings.alert_urls]
        title = clean(f"gatebench: {name} ended before it measured anything", 120)
        failed = failed_words(send(urls, Message(title, clean(said))))
        _say(failed)
        return bool(urls) and not failed
    if run is None or run.status not in ENDED or (run.status == RunStatus.CANCELLED and not deployed):
        return False
    return _tell(run, settings)


def _tell(run: Run, settings: Settings) -> bool:
    """Whether it could be told, or had been, or nobody wants to be told of it."""
    try:
        plan = Plan.model_validate(run.plan)
    except ValidationError:  # of another version: when it wants to be told of cannot be read
        return False
    failed = failed_words(tell(run.run_id, plan, settings))
    _say(failed)
    return bool(settings.alert_urls) and not failed


def _say(failed: list[str]) -> None:
    for line in failed:
        get_logger("gatebench").warning("an alert did not get through: %s", line)


def after_the_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook for a flow that crashed, failed or was cancelled; Prefect calls it with these names. Of a crash it runs in a
    process of the worker, in the environment of the flow."""
    said = state.message if state.message else state.name
    if end_of(str(flow_run.id), flow_run.name, flow_run.deployment_id is not None, said, Settings()):
        tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in flow_run.tags]
        # The server waits a minute for this, and then tells by itself.
        emit_event(TOLD, {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}"}, related=tags)


MEASURING: dict[str, Any] = {
    "timeout_seconds": 6 * 3600,
    "result_serializer": "json",
    "on_crashed": [after_the_end],
    "on_failure": [after_the_end],
    "on_cancellation": [after_the_end],
}
