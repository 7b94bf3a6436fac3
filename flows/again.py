"""What a run found, worked out again from its samples: for a book that was made again without its results."""

from config.plan import Plan
from config.settings import Settings
from flows.specs import plan_digest
from storage.errors import GatebenchError
from storage.files import RunFiles
from storage.records import Attempt, Series
from storage.store import Book
from tasks.compare import compare_run
from tasks.judge import judge_run, segments
from tasks.publish import plan_of
from tasks.remember import remember_run
from tasks.summarise import summarise_run


def work_out(run_id: str, settings: Settings, *, remember: bool) -> str | None:
    """Estimates, and the verdicts of a run that had one; why not, in a sentence, or None. `remember`: take it into
    baselines and incidents too, as its night did; only where nobody else has kept these, and oldest night first."""
    book = Book(settings.book_path, settings.book_wait_s)
    files = RunFiles(settings.runs_path, run_id)
    run = book.run(run_id)
    try:
        if not list(files.folder.glob("*/part-*.parquet")):
            return f"run {run_id} has no samples any more: its estimates are lost"
        plan = plan_of(run_id, settings)
        summarise_run(plan, run_id, settings)
        confirmed = any(leg.attempt == Attempt.CONFIRM for leg in book.legs(run_id))
        if run.flow == "compare":
            compare_run(plan, run_id, settings, confirmed=confirmed)
        elif run.verdict is not None and run.workload_id is not None and run.fingerprint is not None:
            _judge(plan, run_id, settings, confirmed=confirmed, remember=remember)
        book.keep_results(run_id)
    except (GatebenchError, ValueError) as error:  # a plan of another version, samples that were cut off
        said = " ".join(str(error).split())[:300]
        return f"what run {run_id} found could not be worked out: {said}"
    return None


def _judge(plan: Plan, run_id: str, settings: Settings, *, confirmed: bool, remember: bool) -> None:
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    kinds = (Series.SWEEP, Series.REPLAY)
    digests = {(target.name, kind.value): plan_digest(plan, target, kind) for target in plan.targets for kind in kinds}
    found = segments(digests, run_id, str(run.workload_id), str(run.fingerprint), book)
    judged = judge_run(plan, run_id, found, settings, confirmed=confirmed)
    if remember and not any(leg.stopped for leg in book.legs(run_id)):
        remember_run(run_id, found, judged, settings)
