"""One message for a night that needs one, to every channel of this machine's settings."""

import asyncio
from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.plan import Plan
from config.settings import Settings
from storage.records import Change, Incident, Word
from storage.store import Book, wall_clock
from tasks.alerts.channels import Delivery, send
from tasks.alerts.message import Message, compose
from tasks.alerts.rules import should_alert
from tasks.charts.words import slo_words
from tasks.publish import view_of
from tasks.report.headline import headline, moved_words
from tasks.report.view import RunView, broken, changed

ACTIONS = {
    "opened": "opened",
    "joined": "has spread",
    "grew": "has grown",
    "fixed": "is fixed",
    "acknowledged": "is acknowledged",
    "accepted": "is accepted",
}


def change_words(change: Change) -> str:
    """`Incident 3 opened: gw p95 latency over all levels +12 % [+8, +16] (confirmed); gatebench incidents show 3`."""
    why = f" ({change.why})" if change.why else ""
    if change.incident_id is None:
        return f"A new normal: {change.what}{why}; gatebench baseline show"
    said = f"Incident {change.incident_id} {ACTIONS[change.action]}: {change.what}{why}"
    return f"{said}; gatebench incidents show {change.incident_id}"


def message_for(
    view: RunView, plan: Plan, changes: Sequence[Change] = (), incidents: Sequence[Incident] = ()
) -> Message | None:
    """None: nothing that anybody asked to hear of, or that they have not heard already. `changes`: those of this run;
    `incidents`: the ones they are about."""
    run = view.run
    told = [change for change in changes if change.told]
    kinds = should_alert(
        plan.alerts.on,
        verdict=run.verdict,
        status=run.status,
        slo_results=view.slo_results,
        changes=[change.action for change in told] if run.scheduled and run.verdict is not None else None,
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
        objectives=[slo_words(result.slo, result.point) for result in broken(view)],
        incidents=[change_words(change) for change in told],
        since=min((i.since for i in incidents if i.since != run.started_at), default=None),
        against=view.baseline_runs[: plan.judge.history],
        show=f"gatebench show {run.run_id}",
        report=run.report,
    )


def alert_run(run_id: str, plan: Plan, settings: Settings) -> list[Delivery]:
    """Send and write down what was sent; without channels the message is still kept in the book."""
    book = Book(settings.book_path, settings.book_wait_s)
    changes = book.watch.changes(run_id=run_id)
    about = [book.watch.incident(c.incident_id) for c in changes if c.told and c.incident_id is not None]
    message = message_for(view_of(run_id, settings), plan, changes, about)
    if message is None:
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


@task(name="alert", task_run_name="alert", retries=0, cache_policy=NO_CACHE, persist_result=False)
async def alert(run_id: str, plan: Plan) -> list[Delivery]:
    """Not retried as a whole: a channel that took the message must not get it twice."""
    return await asyncio.to_thread(alert_run, run_id, plan, Settings())
