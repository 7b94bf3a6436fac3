"""Targets that were measured in the same blocks -> comparisons in the book, and one word for all of them."""

import asyncio
from collections.abc import Sequence

from prefect import task

from config.plan import Plan
from config.settings import Settings
from config.target import Target
from storage.files import RunFiles
from storage.records import CONTROL, Attempt, Comparison, Leg, Series, Validity, Verdict, Word
from storage.store import Book
from tasks.again import AGAIN
from tasks.judge import Judged
from tasks.stats.pair_errors import compare_errors, counts
from tasks.stats.pair_gate import OVERHEAD, Match, compare, levels_again, overall
from tasks.stats.pair_rules import PairRules
from tasks.stats.paired import figures, pairs

CANDIDATE_KIND = "candidate"


def matches(targets: Sequence[Target]) -> list[tuple[str, str, str]]:
    """(baseline, candidate, kind): the first gateway against every other one; and what each adds to the upstream, where
    one target is `direct`."""
    direct = [t.name for t in targets if t.direct]
    through = [t.name for t in targets if not t.direct]
    found = [(names[0], name, CANDIDATE_KIND) for names in (through, direct) for name in names[1:]]
    return found + [(direct[0], name, OVERHEAD) for name in through if direct]


def compare_run(plan: Plan, run_id: str, settings: Settings, *, confirmed: bool) -> Judged | None:
    """Reads only what is on disk. `confirmed`: the candidates' levels were measured once more. None: nothing was meant
    to be judged."""
    files = RunFiles(settings.runs_path, run_id)
    book = Book(settings.book_path, settings.book_wait_s)
    legs = book.legs(run_id)
    measured = figures(files.samples(), legs)
    rules = PairRules(min_effect=plan.judge.min_effect, confirm=plan.judge.confirm)
    found: list[Comparison] = []
    again: set[tuple[str, int]] = set()
    for names in matches(plan.targets):
        b, c, kind = names
        second = pairs(measured, Attempt.CONFIRM, b, c) if confirmed else None
        mine = compare(Match(b, c, kind, pairs(measured, Attempt.FIRST, b, c), second), rules)
        first, last = (tuple(counts(legs, a, name) for name in (b, c)) for a in (Attempt.FIRST, Attempt.CONFIRM))
        mine += compare_errors(names, first[0], first[1], (last[0], last[1]) if confirmed else None, rules)
        again |= {(name, level) for level in levels_again(mine) for name in (b, c)}
        found += mine
    book.add_comparisons(run_id, found)
    said, reason = word(plan, found, legs, rules)
    if said is None:
        return None
    whole = Verdict("", Series.SWEEP, "", None, None, None, None, None, None, said, reason)
    return Judged(verdict=said, history_n=0, candidates=_by_target(again), verdicts=[whole])


def word(plan: Plan, found: Sequence[Comparison], legs: Sequence[Leg], rules: PairRules) -> tuple[str | None, str]:
    """The run's word: what was not measured properly, or not at all, never passes."""
    mine = [leg for leg in legs if leg.target != CONTROL]
    if any(leg.validity == Validity.INVALID and leg.stopped is None for leg in mine):
        return Word.INVALID, ""
    said, reason = overall(found, rules)
    if said == Word.REGRESSED or said is None:
        return said, ""
    if any(leg.stopped is not None for leg in mine):
        return Word.INCONCLUSIVE, "the measuring was stopped before its time"
    missing = next(iter(_missing(plan, found)), None)
    if missing is not None:
        return Word.INCONCLUSIVE, f"nothing to compare by at {missing} concurrent"
    return said, reason


def _missing(plan: Plan, found: Sequence[Comparison]) -> list[int]:
    """Levels of a judged pair at which it has nothing that leads but errors."""
    judged = [one for one in found if one.kind != OVERHEAD]
    matched = {(one.baseline, one.candidate) for one in judged}
    known = {(one.baseline, one.candidate, one.level) for one in judged if one.leads and one.metric != "errors"}
    return [level for level in plan.sweep.levels if any((*pair, level) not in known for pair in matched)]


def _by_target(cells: set[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    return [(name, sorted(level for n, level in cells if n == name)) for name in sorted({name for name, _ in cells})]


@task(name="compare", task_run_name="compare", **AGAIN)
async def compare_targets(plan: Plan, run_id: str, confirmed: bool) -> Judged | None:
    return await asyncio.to_thread(compare_run, plan, run_id, Settings(), confirmed=confirmed)
