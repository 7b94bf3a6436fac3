"""Tonight against the accepted nights of its segment -> verdicts in the book."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from prefect import task

from config.plan import Plan
from config.settings import Settings
from storage.memory import may_enter
from storage.records import CONTROL, Attempt, Leg, Series, Validity, Verdict, Word
from storage.segments import Segment
from storage.store import Book
from tasks.stats.gate import GateRules, candidates, judge, overall

JUDGED = (Series.SWEEP, Series.REPLAY, Series.LOAD)


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: str
    history_n: int
    candidates: list[tuple[str, list[int]]]  # what to measure once more: target, levels (0: the replay)
    verdicts: list[Verdict]


def segments(
    digests: dict[tuple[str, str], str], run_id: str, workload_id: str, fingerprint: str, book: Book
) -> list[Segment]:
    """The segment of each (target, series) that was measured."""
    legs = book.legs(run_id)
    measured = sorted({(leg.target, leg.series) for leg in legs if leg.target != CONTROL and leg.series in JUDGED})
    return [
        book.segment(
            run_id,
            target=target,
            series=series,
            workload_id=workload_id,
            plan_digest=digests[target, series],
            fingerprint=fingerprint,
        )
        for target, series in measured
        if (target, series) in digests
    ]


def judge_run(plan: Plan, run_id: str, found: Sequence[Segment], settings: Settings, *, confirmed: bool) -> Judged:
    """Compare and write the verdicts down. `confirmed`: candidate levels were measured once more."""
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    history = book.history([s.segment_id for s in found], before=run.started_at, limit=plan.judge.history)
    nights = history["night"].n_unique()
    last = history["night"].max()
    tonight = int(last) + 1 if isinstance(last, int) else 0
    measured = book.tonight(run_id, night=tonight)
    series = {(s.target, s.series) for s in found}
    verdicts = judge(
        history,
        _only(measured, series),
        confirm=_only(book.tonight(run_id, night=tonight, attempt=Attempt.CONFIRM), series) if confirmed else None,
        control=CONTROL,
        rules=GateRules(min_effect=plan.judge.min_effect),
    )
    book.add_verdicts(run_id, verdicts)
    return Judged(word(verdicts, book.legs(run_id)), nights, candidates(verdicts), verdicts)


def _only(frame: pl.DataFrame, series: set[tuple[str, str]]) -> pl.DataFrame:
    keep = [
        target == CONTROL or (target, s) in series for target, s in zip(frame["target"], frame["series"], strict=True)
    ]
    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def word(verdicts: Sequence[Verdict], legs: Sequence[Leg]) -> str:
    """The run's word: an invalid leg of a target makes the night invalid, unless something regressed."""
    said = overall(list(verdicts))
    bad = any(leg.validity == Validity.INVALID and leg.target != CONTROL for leg in legs)
    return Word.INVALID if bad and said != Word.REGRESSED else said


def remember(run_id: str, found: Sequence[Segment], verdicts: Sequence[Verdict], settings: Settings) -> bool:
    """Let a quiet, valid, scheduled night into the baseline. True if it went in."""
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    valid = all(leg.validity != Validity.INVALID for leg in book.legs(run_id))
    if not (valid and may_enter(run, verdicts, resumed=False)):
        return False
    return all(book.enter_baseline(s.segment_id, run_id, "gatebench", "a quiet scheduled night") for s in found)


@task(name="judge", task_run_name="judge", retries=3, retry_delay_seconds=[1, 5, 15], retry_jitter_factor=0.5)
async def judge_tonight(plan: Plan, run_id: str, found: list[Segment], confirmed: bool) -> Judged:
    return await asyncio.to_thread(judge_run, plan, run_id, found, Settings(), confirmed=confirmed)
