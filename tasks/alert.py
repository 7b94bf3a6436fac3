"""One message for a night that needs one, to every channel of this machine's settings."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact

from config.plan import Plan
from config.settings import Settings
from storage.errors import GatebenchError
from storage.records import Change, Incident, Run, RunStatus, SloResult, Word
from storage.store import Book, wall_clock
from tasks.again import ONCE
from tasks.alerts.channels import Delivery, send
from tasks.alerts.message import Message, compose
from tasks.alerts.rules import should_alert, slo_news
from tasks.charts.words import slo_words
from tasks.publish import view_of
from tasks.report.headline import headline, moved_words
from tasks.report.view import RunView, changed

Send = Callable[[Sequence[str], Message], list[Delivery]]

ACTIONS = {
    "opened": "opened",
    "joined": "has spread",
    "grew": "has grown",
    "fixed": "is fixed",
    "acknowledged": "is acknowledged",
    "accepted": "is accepted",
}
NOBODY = "any channel"  # where not even the message could be made
BACK = 50  # runs that are looked through for the nights before


def change_words(change: Change) -> str:
    """`Incident 3 opened: gw p95 latency over all levels +12 % [+8, +16] (confirmed); gatebench incidents show 3`."""
    why = f" ({change.why})" if change.why else ""
    if change.incident_id is None:
        return f"A new normal: {change.what}{why}; gatebench baseline show"
    said = f"Incident {change.incident_id} {ACTIONS[change.action]}: {change.what}{why}"
    return f"{said}; gatebench incidents show {change.incident_id}"


def message_for(
    view: RunView,
    plan: Plan,
    changes: Sequence[Change] = (),
    incidents: Sequence[Incident] = (),
    before: Sequence[SloResult] | None = None,
) -> Message | None:
    """None: nothing that anybody asked to hear of, or that they have not heard already. `changes`: those of this run,
    and of nights before it that nobody could be told of; `incidents`: the ones they are about; `before`: the objectives
    as they were when somebody was last told, None: never."""
    run = view.run
    told = [change for change in changes if change.told]
    broken, mended = slo_news(view.slo_results, before)
    kinds = should_alert(
        plan.alerts.on,
        verdict=run.verdict,
        status=run.status,
        slo_results=broken,
        changes=[change.action for change in told] if run.scheduled and run.verdict is not None else None,
        mended=mended,
    )
    if not kinds:
        return None
    return compose(
        kinds=kinds,
        plan=run.plan_name,
        run_id=run.run_id,
        started_at=run.started_at,
        headline=headline(view),
        regressed=[moved_words(view, v) for v in changed(view) if v.verdict == Word.REGRESSED],
        objectives=[slo_words(result.slo, result.point) for result in broken],
        incidents=[change_words(change) for change in told],
        since=min((i.since for i in incidents if i.since != run.started_at), default=None),
        against=view.baseline_runs[: plan.judge.history],
        show=f"gatebench show {run.run_id}",
        report=run.report,
        kept=[slo_words(result.slo, result.point) for result in mended],
    )


def alert_run(run_id: str, plan: Plan, settings: Settings, send: Send = send) -> list[Delivery]:
    """Send and write down what was sent; without channels the message is still kept in the book. A run that is told of
    already, because it was resumed or its task ran again, is not told of twice."""
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    untold, last = nights_before(book, run)
    changes = [change for one in (*untold, run) for change in book.watch.changes(run_id=one.run_id)]
    about = [book.watch.incident(c.incident_id) for c in changes if c.told and c.incident_id is not None]
    before = None if last is None else book.slo_results(last.run_id)
    message = message_for(view_of(run_id, settings), plan, changes, about, before)
    if message is None or message.title in {row.title for row in book.alerts(run_id) if row.error is None}:
        return []
    deliveries = send([url.get_secret_value() for url in settings.alert_urls], message)
    errors = "; ".join(f"{d.channel}: {d.error}" for d in deliveries if not d.ok)
    book.record_alert(
        run_id,
        "night",
        channels=len(deliveries),
        title=message.title,
        body=message.body,
        sent_at=wall_clock(),
        error=errors if errors else None,
    )
    return deliveries


def nights_before(book: Book, run: Run) -> tuple[list[Run], Run | None]:
    """(nights since whose message did not get through, oldest first; the night before them), of the same plan. Nothing
    for a run that is no night: it is told by itself."""
    untold: list[Run] = []
    for one in book.runs(BACK) if run.scheduled else ():
        if not one.scheduled or one.plan_name != run.plan_name or one.started_at >= run.started_at:
            continue
        rows = book.alerts(one.run_id)
        if rows and rows[-1].error is not None:
            untold.insert(0, one)
        elif one.status == RunStatus.COMPLETED:
            return untold, one
    return untold, None


def tell(run_id: str, plan: Plan, settings: Settings, send: Send = send) -> list[Delivery]:
    """`alert_run`, but what goes wrong comes back as a delivery that failed: a measurement that is done stands whether
    anybody hears of it or not."""
    try:
        return alert_run(run_id, plan, settings, send)
    except GatebenchError as error:
        return [Delivery(NOBODY, False, str(error))]
    except Exception as error:  # a bug of ours: where it was, not what it says, which might hold an address
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return [Delivery(NOBODY, False, f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}")]


def failed_words(deliveries: Sequence[Delivery]) -> list[str]:
    """`json: the channel refused the message or did not answer (tried 3 times)`, one a channel that failed."""
    return [
        f"{one.channel}: {one.error}" + (f" (tried {one.attempts} times)" if one.attempts > 1 else "")
        for one in deliveries
        if not one.ok
    ]


@task(name="alert", task_run_name="alert", **ONCE)
async def alert(run_id: str, plan: Plan) -> list[Delivery]:
    """Not retried as a whole: a channel that took the message must not get it twice; each channel is tried again by
    itself. What did not get through is on the run's page and in its log."""
    deliveries = await asyncio.to_thread(tell, run_id, plan, Settings())
    failed = failed_words(deliveries)
    for line in failed:
        get_run_logger().warning("an alert did not get through: %s", line)
    if failed:
        text = "\n".join(["## An alert did not get through", "", *(f"- {line}" for line in failed)])
        try:
            await acreate_markdown_artifact(text + "\n", key="gatebench-alerts", description=f"Alerts of {run_id}")
        except Exception as error:  # whatever the client raises: the run stands all the same
            get_run_logger().warning("the run's page could not be told: %s", type(error).__name__)
    return deliveries
