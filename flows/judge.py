"""A stored run against its baseline, by itself: nothing is measured."""

import asyncio
from typing import Any

from prefect import State, flow
from prefect.states import Completed

from config.settings import Settings
from flows.refused import refused
from flows.specs import plan_digest
from storage.errors import GatebenchError, UsageError
from storage.records import Series
from storage.store import Book
from tasks.judge import Judged, judge_tonight, segments
from tasks.publish import plan_of


@flow(name="judge", flow_run_name="judge {run}", timeout_seconds=600)
async def judge(run: str = "last") -> State[Any]:
    """Compare a stored run with the accepted nights of its segment, again.

    Args:
        run: Id of a run, a prefix that only one run has, or last.
    """
    try:
        return await _judge(run)
    except GatebenchError as error:
        return refused(error)


async def _judge(name: str) -> State[Any]:
    settings = Settings()
    book = Book(settings.book_path, settings.book_wait_s)
    run = await asyncio.to_thread(book.run, name)
    if run.flow == "compare":
        raise UsageError(
            f"{run.run_id} compared targets with each other; `gatebench show {run.run_id}` has its verdict"
        )
    plan = plan_of(run.run_id, settings)
    if run.workload_id is None or run.fingerprint is None:
        raise UsageError(f"run {run.run_id} did not get as far as measuring; there is nothing to judge")
    digests = {(t.name, s.value): plan_digest(plan, t, s) for t in plan.targets for s in (Series.SWEEP, Series.REPLAY)}
    found = segments(digests, run.run_id, run.workload_id, run.fingerprint, book)
    confirmed = any(leg.attempt == "confirm" for leg in book.legs(run.run_id))
    judged: Judged = await judge_tonight(plan, run.run_id, found, confirmed)
    book.update_run(run.run_id, verdict=judged.verdict)
    return Completed(
        name=judged.verdict.capitalize(),
        message=f"{run.run_id}: {judged.verdict} against {judged.history_n} nights",
        data={"run_id": run.run_id, "verdict": judged.verdict, "history_n": judged.history_n, "exit_code": 0},
    )
