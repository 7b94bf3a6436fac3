"""Samples on disk -> estimates, ceilings and objectives in the book."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from prefect import task

from config.plan import Plan, parse_slo
from config.settings import Settings
from storage.files import RunFiles
from storage.records import STRESS, Attempt, Ceiling, Cell, Leg, Price, Series, Slo, Validity
from storage.store import Book
from tasks.again import AGAIN
from tasks.ceiling import sustained_rates
from tasks.stats.ceiling import ceiling
from tasks.stats.cost import costs
from tasks.stats.estimate import cells as estimate
from tasks.stats.estimate import turnarounds
from tasks.stats.gateway import gateway_facts
from tasks.stats.kinds import kinds
from tasks.stats.slo import check

TURNAROUND_LIMIT = 0.05
_ON_TOP = pl.col("stream_label") == STRESS


def slos(plan: Plan) -> list[Slo]:
    found = []
    for text in plan.slos:
        stat, quantity, threshold, level = parse_slo(text)
        found.append(Slo(text, stat, quantity, threshold, level))
    return found


def checked(legs: Sequence[Leg], between: dict[str, float]) -> list[Leg]:
    """Legs whose users took more than 5 % of a latency between two requests become suspect."""
    out = []
    for leg in legs:
        gap = between.get(leg.leg_id, 0.0)
        if gap > TURNAROUND_LIMIT and leg.validity == Validity.VALID:
            reason = f"between two requests of a user {gap:.0%} of a latency went by: fewer were under way than asked"
            out.append(replace(leg, validity=Validity.SUSPECT, reasons=[*leg.reasons, reason]))
        else:
            out.append(leg)
    return out


def summarise_run(plan: Plan, run_id: str, settings: Settings) -> list[Cell]:
    """Reads only what is on disk, so that any run can be summarised again."""
    files = RunFiles(settings.runs_path, run_id)
    samples = files.samples()
    legs = checked(files.legs(), turnarounds(samples, files.legs()))
    objectives = slos(plan)
    found = [*estimate(samples.filter(~_ON_TOP), legs, slos=objectives), *stress_cells(samples, legs)]
    answers = kinds(samples, legs)
    main = kinds(samples.filter(~_ON_TOP), legs) if any(c.series == Series.STRESS for c in found) else answers
    kept_up = sustained_rates(plan, samples, legs, found, objectives)
    prices = {model: Price(**price.model_dump()) for model, price in plan.prices.items()}
    paid, done = costs(answers, legs, prices), gateway_facts(main, legs)
    kept = check(objectives, [cell for cell in found if cell.attempt == Attempt.FIRST])
    tops = ceilings(plan, found, legs, objectives)
    book = Book(settings.book_path, settings.book_wait_s)
    with book.kept_open():
        book.add_legs(run_id, legs)
        book.add_cells(run_id, found)
        book.add_costs(run_id, paid)
        book.add_gateway_facts(run_id, done)
        book.add_slo_results(run_id, kept)
        book.add_ceilings(run_id, tops)
        book.add_sustained(run_id, kept_up)
    return found


def stress_cells(samples: pl.LazyFrame, legs: Sequence[Leg]) -> list[Cell]:
    """Estimates of what was laid on top of replays, under a series of their own: shown beside, never judged."""
    if not any(leg.series == Series.REPLAY for leg in legs):
        return []
    stressed = [replace(leg, series=Series.STRESS) for leg in legs if leg.series == Series.REPLAY]
    return estimate(samples.filter(_ON_TOP), stressed)


def ceilings(plan: Plan, cells: Sequence[Cell], legs: Sequence[Leg], objectives: Sequence[Slo]) -> list[Ceiling]:
    found = (ceiling(target.name, cells, legs, objectives) for target in plan.targets)
    return [c for c in found if c is not None]


@task(name="summarise", task_run_name="summarise", **AGAIN)
async def summarise(plan: Plan, run_id: str) -> int:
    """How many estimates were made."""
    return len(await asyncio.to_thread(summarise_run, plan, run_id, Settings()))
