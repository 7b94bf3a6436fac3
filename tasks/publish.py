"""A run on disk -> the report, and what the Prefect pages show."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.events import emit_event

from config.plan import Plan
from config.settings import Settings
from storage.disk import write_aside
from storage.errors import UsageError
from storage.files import RunFiles
from storage.records import Attempt, Cell, Leg, Run, Series
from storage.retention import are_forgotten
from storage.store import Book
from tasks.again import AGAIN
from tasks.characterise import characterise_file
from tasks.report.events import events_of
from tasks.report.figures import main_verdict
from tasks.report.html import render_html
from tasks.report.markdown import estimate_rows, render_markdown, render_place
from tasks.report.view import RunView, targets
from tasks.trend import lines

L = TypeVar("L", Leg, Cell)


def view_of(run_id: str, settings: Settings) -> RunView:
    """Everything a report says, from the book and the run's folder. Raises UsageError for an unknown run."""
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    workload = _workload(run.environment.get("workload_path"))
    with book.kept_open():
        return _view(book, run, workload, RunFiles(settings.runs_path, run.run_id))


def _view(book: Book, run: Run, workload: tuple[str | None, dict[str, Any] | None], files: RunFiles) -> RunView:
    found = book.segments(run.run_id)
    limit = int(run.plan.get("judge", {}).get("history", 30))
    history = book.history([s.segment_id for s in found], before=run.started_at, limit=limit) if found else None
    words, profile = workload
    return RunView(
        run=run,
        legs=levels_first(book.legs(run.run_id)),
        cells=levels_first(book.cells(run.run_id)),
        verdicts=book.verdicts(run.run_id),
        slo_results=book.slo_results(run.run_id),
        ceilings=book.ceilings(run.run_id),
        calibrations=book.calibrations(run.run_id),
        history=history,
        profile=profile,
        profile_words=words,
        costs=book.costs(run.run_id),
        sustained=book.sustained(run.run_id),
        gateway=book.gateway_facts(run.run_id),
        comparisons=book.comparisons(run.run_id),
        drifts=book.watch.dated_drifts([s.segment_id for s in found], until=run.started_at) if found else [],
        incidents=[i for s in found for i in book.watch.open_in(s.segment_id, run.run_id)],
        fidelity=files.read_fidelity(),
        undelivered=[row.error for row in book.alerts(run.run_id)[-1:] if row.error is not None],
        baseline_runs=sorted({r for s in found for r in book.baseline_runs(s.segment_id)} - {run.run_id}),
    )


def levels_first(found: Sequence[L]) -> list[L]:
    """Levels beyond the plan's stand beside the others; rates that were tried are no legs of a report, see
    `RunView.sustained`."""
    kept = [one for one in found if one.attempt != Attempt.PROBE or one.series == Series.SWEEP]
    return [replace(one, attempt=Attempt.FIRST) if one.attempt == Attempt.PROBE else one for one in kept]


def _workload(path: Any) -> tuple[str | None, dict[str, Any] | None]:
    if not isinstance(path, str) or not Path(path).is_file():
        return None, None
    try:
        found = characterise_file(Path(path))
    except UsageError as error:  # changed or damaged since: the run itself still stands
        return f"The workload cannot be read any more: {error}", None
    return found.words, found.profile


def view_with_trends(run_id: str, settings: Settings) -> RunView:
    """With the number that matters most of each target, over the nights up to this run."""
    view = view_of(run_id, settings)
    watch = Book(settings.book_path, settings.book_wait_s).watch
    found = []
    for verdict in [main_verdict(view, target) for target in targets(view)]:
        if verdict is not None:
            mine = lines(watch, [verdict.metric], target=verdict.target, level=verdict.level, until=view.run.started_at)
            found += [line for line in mine if line.series == verdict.series]
    return replace(view, trends=found)


def write_report(run_id: str, settings: Settings) -> Path:
    """The HTML page of a run, written aside and renamed."""
    view = view_with_trends(run_id, settings)
    files = RunFiles(settings.runs_path, view.run.run_id)
    if files.report.is_file() and are_forgotten(files.folder):  # it could not be drawn as well again
        return files.report
    write_aside(files.report, render_html(view, files.samples()))
    return files.report


@task(name="report", task_run_name="report", **AGAIN)
async def report(run_id: str) -> str:
    """Path of the page."""
    return str(await asyncio.to_thread(write_report, run_id, Settings()))


@task(name="publish", task_run_name="publish artifacts", **AGAIN)
async def publish(run_id: str) -> None:
    """Markdown with charts, the table of estimates, where the report lies, on the run's page; and the run's events."""
    settings = Settings()
    view = await asyncio.to_thread(view_with_trends, run_id, settings)
    text = await asyncio.to_thread(render_markdown, view)
    said = text.removeprefix("## ").partition(":")[0]  # `Regressed`, for the list of artifacts
    await acreate_markdown_artifact(text, key="gatebench-verdict", description=f"{said[:80]}: {run_id}")
    await acreate_table_artifact(estimate_rows(view), key="gatebench-estimates", description="Estimates with intervals")
    if view.run.report is not None:
        place = render_place(view)
        await acreate_markdown_artifact(place, key="gatebench-report", description="Where the full report lies")
    changes = await asyncio.to_thread(Book(settings.book_path, settings.book_wait_s).watch.changes, run_id=run_id)
    for event in events_of(view, changes):
        emit_event(event.name, event.resource, payload=event.payload, id=event.id)


def plan_of(run_id: str, settings: Settings) -> Plan:
    """The plan a stored run was measured by."""
    return Plan.model_validate(Book(settings.book_path, settings.book_wait_s).run(run_id).plan)
