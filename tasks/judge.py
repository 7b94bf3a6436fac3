"""Tonight against the accepted nights of its segment -> verdicts in the book."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
from prefect import task

from config.plan import Plan
from config.settings import Settings
from storage.records import CONTROL, Attempt, Drift, Leg, Run, Series, Validity, Verdict, Word
from storage.segments import Segment
from storage.store import Book
from tasks.again import AGAIN
from tasks.stats.drift import cusum, raised
from tasks.stats.gate import GateRules, candidates, judge, overall

JUDGED = (Series.SWEEP, Series.REPLAY, Series.LOAD)


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: str
    history_n: int
    candidates: list[tuple[str, list[int]]]  # what to measure once more: target, levels (0: the replay)
    verdicts: list[Verdict]
    drifts: list[Drift] = field(default_factory=list)
    onsets: dict[tuple[str, str, str], str] = field(default_factory=dict)  # of an alarm: target, series, metric


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
    carried = book.watch.carried([s.segment_id for s in found], before=run.started_at, limit=plan.judge.history)
    rules = GateRules(min_effect=plan.judge.min_effect)
    gate = judge(
        history,
        _only(measured, series),
        confirm=_only(book.tonight(run_id, night=tonight, attempt=Attempt.CONFIRM), series) if confirmed else None,
        control=CONTROL,
        carried=carried,
        rules=rules,
    )
    legs = book.legs(run_id)
    watched = [s for s in found if run.scheduled and not run.resumed and valid(legs, s)]
    drifts = _drifts(history, measured, carried, watched, run, plan, rules, book)
    onsets = _onsets(drifts, watched, run, book)
    verdicts = raised(gate, drifts, {key: started_at[:10] for key, started_at in onsets.items()})
    book.add_verdicts(run_id, verdicts)
    return Judged(word(verdicts, legs), nights, candidates(gate), verdicts, drifts, onsets)


def valid(legs: Sequence[Leg], segment: Segment) -> bool:
    """Can what was measured of a segment be trusted, and the control beside it?"""
    judged = [leg for leg in legs if leg.attempt != Attempt.PROBE]
    mine = [leg for leg in judged if (leg.target, leg.series) == (segment.target, segment.series)]
    control = [leg for leg in judged if (leg.target, leg.series) == (CONTROL, segment.series)]
    return bool(mine) and all(leg.validity != Validity.INVALID for leg in mine + control)


def _drifts(
    history: pl.DataFrame,
    measured: pl.DataFrame,
    carried: pl.DataFrame,
    watched: Sequence[Segment],
    run: Run,
    plan: Plan,
    rules: GateRules,
    book: Book,
) -> list[Drift]:
    """What tonight adds to the sums of small moves, kept for the next night. Only a whole, valid, scheduled night adds
    anything."""
    series = {(s.target, s.series): s.segment_id for s in watched}
    before = book.watch.drifts([s.segment_id for s in watched], before=run.started_at)
    found = cusum(
        _only(history, set(series)),
        _only(measured, set(series)),
        control=CONTROL,
        before=before,
        carried=carried,
        anchor=plan.judge.history,
        rules=rules,
    )
    book.watch.add_drifts(run.run_id, [(series[d.target, d.series], d) for d in found])
    return found


def _onsets(
    drifts: Sequence[Drift], watched: Sequence[Segment], run: Run, book: Book
) -> dict[tuple[str, str, str], str]:
    """started_at of the night on which each drift that alarms was last nothing."""
    series = {(s.target, s.series): s.segment_id for s in watched}
    found = {}
    for drift in drifts:
        if drift.alarm:
            onset = book.watch.onset(series[drift.target, drift.series], drift, before=run.started_at)
            if onset is not None:
                found[drift.target, drift.series, drift.metric] = onset
    return found


def _only(frame: pl.DataFrame, series: set[tuple[str, str]]) -> pl.DataFrame:
    keep = [
        target == CONTROL or (target, s) in series for target, s in zip(frame["target"], frame["series"], strict=True)
    ]
    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def word(verdicts: Sequence[Verdict], legs: Sequence[Leg]) -> str:
    """The run's word: an invalid leg of a target makes the night invalid, unless something regressed."""
    said = overall(list(verdicts))
    judged = [leg for leg in legs if leg.target != CONTROL and leg.attempt != Attempt.PROBE]
    bad = any(leg.validity == Validity.INVALID for leg in judged)
    return Word.INVALID if bad and said != Word.REGRESSED else said


@task(name="judge", task_run_name="judge", **AGAIN)
async def judge_tonight(plan: Plan, run_id: str, found: list[Segment], confirmed: bool) -> Judged:
    return await asyncio.to_thread(judge_run, plan, run_id, found, Settings(), confirmed=confirmed)
