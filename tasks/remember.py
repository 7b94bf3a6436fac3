"""A judged night -> the memory: incidents taken on by a night, quiet nights into the baseline, a new normal."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prefect import task

from config.settings import Settings
from storage.memory import may_enter
from storage.records import Change, Incident, Verdict
from storage.segments import Segment
from storage.store import Book, wall_clock
from tasks.again import AGAIN
from tasks.charts.words import count, effect_words, metric_words, place_words
from tasks.judge import Judged, valid
from tasks.report.view import moved_effect
from tasks.stats.incidents import IMPROVED_AFTER, Night, new_normal, step

WHY_ENTERED = "a quiet scheduled night"


@dataclass(frozen=True, slots=True)
class Remembered:
    entered: dict[str, int]  # segment whose baseline the night is in now -> the nights that this holds
    changes: list[Change]  # of state, worth telling or not


def remember_run(run_id: str, found: Sequence[Segment], judged: Judged, settings: Settings) -> Remembered:
    """What a whole night changes in the memory; a night that is remembered already changes nothing more.

    Only a scheduled run counts as a night: it alone opens, feeds and ends incidents and enters a baseline by itself.
    """
    book = Book(settings.book_path, settings.book_wait_s)
    run = book.run(run_id)
    if not run.scheduled:
        return Remembered({}, [])
    legs = book.legs(run_id)
    entered: dict[str, int] = {}
    changes: list[Change] = []
    for segment in found:
        good = valid(legs, segment)
        mine = of_segment(judged.verdicts, segment)
        quarantined = bool(book.watch.open_in(segment.segment_id, run_id))
        enters = good and may_enter(run, mine, resumed=run.resumed, quarantined=quarantined)
        if enters and book.enter_baseline(segment.segment_id, run_id, "gatebench", WHY_ENTERED):
            entered[segment.segment_id] = len(book.baseline_runs(segment.segment_id))
        night = Night(
            run_id=run_id,
            started_at=run.started_at,
            segment_id=segment.segment_id,
            target=segment.target,
            series=segment.series,
            verdicts=mine,
            against=_against(book.baseline_runs(segment.segment_id), run_id, judged.history_n),
            valid=good,
            onsets={m: at for (t, s, m), at in judged.onsets.items() if (t, s) == (segment.target, segment.series)},
        )
        changes += book.watch.keep(segment.segment_id, run_id, _step(night))
        if good and not run.resumed and not quarantined and not book.watch.open_in(segment.segment_id):
            changes += _new_normal(book, segment, night)
    return Remembered(entered, changes)


def entered_words(entered: Mapping[str, int], found: Sequence[Segment]) -> str:
    """`entered the baseline, which now holds 4 nights`; of what, where not of all; each by itself where they differ."""
    held: dict[int, list[str]] = {}
    for segment in found:
        if segment.segment_id in entered:
            held.setdefault(entered[segment.segment_id], []).append(f"{segment.target} {segment.series}")
    if len(held) > 1:
        each = [f"{', '.join(names)} ({count(n, 'night')} now)" for n, names in held.items()]
        return f"entered the baselines of {'; '.join(each)}"
    [(n, names)] = held.items()
    only = "" if len(names) == len(found) else f" of {', '.join(names)}"
    return f"entered the baseline{only}, which now holds {count(n, 'night')}"


def of_segment(verdicts: Sequence[Verdict], segment: Segment) -> list[Verdict]:
    return [v for v in verdicts if (v.target, v.series) == (segment.target, segment.series)]


def symptom_words(verdict: Verdict) -> str:
    """`gw p95 latency at 10 concurrent +48 % [+41, +56]`: what moved, as the metric itself moved."""
    moved = moved_effect(verdict)
    what = f"{verdict.target} {metric_words(verdict.metric)} {place_words(verdict.series, verdict.level)}"
    return what if moved is None else f"{what} {effect_words(*moved)}"


def _step(night: Night) -> Callable[[list[Incident], int], tuple[list[Incident], list[Change]]]:
    now = wall_clock()
    return lambda known, first_id: step(known, night, first_id=first_id, now=now, words=symptom_words)


def _new_normal(book: Book, segment: Segment, night: Night) -> list[Change]:
    """Better on so many nights running: the next generation opens with them, told once."""
    last = book.watch.last_verdicts(segment.segment_id, before=night.started_at, most=IMPROVED_AFTER - 1)
    family = new_normal([*(verdicts for _, verdicts in last), night.verdicts])
    if family is None or any(book.run(before).resumed for before, _ in last):
        return []
    better = [v for v in night.verdicts if v.verdict == "improved"]
    what = "; ".join(symptom_words(v) for v in sorted(better, key=lambda v: v.level is not None)[:3])
    why = f"{family} improved on {IMPROVED_AFTER} nights running"
    opened = book.watch.new_normal(segment, [*(run for run, _ in last), night.run_id], what, why)
    if opened is None:
        return []
    return [c for c in book.watch.changes(run_id=night.run_id) if c.action == "new_normal"]


def _against(runs: Sequence[str], run_id: str, most: int) -> str:
    others = [run for run in runs if run != run_id][:most]
    return f"{count(len(others), 'night')}, {others[0]} to {others[-1]}" if others else "no night"


@task(name="remember", task_run_name="remember", **AGAIN)
async def remember(run_id: str, found: list[Segment], judged: Judged) -> Remembered:
    return await asyncio.to_thread(remember_run, run_id, found, judged, Settings())
