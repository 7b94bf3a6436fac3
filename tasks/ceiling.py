"""The search for the highest rate that a target keeps up with: what the rates tried so far say, from disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from prefect import task

from config.plan import Plan
from config.settings import Settings
from storage.files import RunFiles
from storage.records import Attempt, Cell, Leg, RateProbe, Series, Slo, Sustained
from tasks.again import AGAIN
from tasks.stats.ceiling import ceiling
from tasks.stats.estimate import cells as estimate
from tasks.stats.search import Search, answer
from tasks.stats.weigh import Limits, probes

BEGIN = 0.97  # of what the sweep reached: near enough to be kept up with at once
BEYOND = 1.1  # of what the sweep reached: no rate above it, or above its interval, is tried unless the plan says so


def search_of(plan: Plan, target: str, cells: Sequence[Cell], legs: Sequence[Leg]) -> Search | None:
    """Where to begin and how far to go: as the plan says, else by what the sweep reached inside the objectives. None
    where neither says anything."""
    asked = plan.ceiling
    reached = ceiling(target, cells, legs)
    good = [
        c.estimate.point
        for c in cells
        if (c.target, c.series, c.metric) == (target, Series.SWEEP, "goodput") and c.attempt != Attempt.CONFIRM
    ]
    start, most = asked.start_rps, asked.max_rps
    if reached is not None:
        top = reached.throughput_rps.point
        begin = min([top, *([max(good)] if good and max(good) > 0 else [])])
        start = BEGIN * begin if start is None else start
        rate = reached.throughput_rps
        most = max(BEYOND * top, top if rate.upper is None else rate.upper) if most is None else most
    if start is None:
        return None
    return Search(start if most is None else min(start, most), most, asked.tolerance, asked.most)


def rates_tried(
    plan: Plan, target: str, samples: pl.LazyFrame, legs: Sequence[Leg], cells: Sequence[Cell], slos: Sequence[Slo]
) -> list[RateProbe]:
    """In the order in which they were tried."""
    mine = [leg for leg in legs if (leg.target, leg.attempt, leg.series) == (target, Attempt.PROBE, Series.LOAD)]
    return probes(samples, mine, cells, slos, Limits(plan.ceiling.achieved, plan.ceiling.errors))


def sustained_rates(
    plan: Plan, samples: pl.LazyFrame, legs: Sequence[Leg], cells: Sequence[Cell], slos: Sequence[Slo]
) -> list[Sustained]:
    """One a target for which rates were tried."""
    found = []
    for target in plan.targets:
        tried = rates_tried(plan, target.name, samples, legs, cells, slos)
        search = search_of(plan, target.name, cells, legs)
        if tried and search is not None:
            held_to = [slo for slo in slos if slo.level is None]
            found.append(replace(answer(target.name, tried, search), objectives=held_to))
    return found


def tried_run(plan: Plan, run_id: str, target: str, slos: Sequence[Slo], settings: Settings) -> list[RateProbe]:
    """Reads only what is on disk."""
    files = RunFiles(settings.runs_path, run_id)
    legs = [
        leg for leg in files.legs() if (leg.target, leg.attempt, leg.series) == (target, Attempt.PROBE, Series.LOAD)
    ]
    if not legs:
        return []
    samples = files.samples()
    return rates_tried(plan, target, samples, legs, estimate(samples, legs, slos=slos), slos)


@task(name="weigh rates", task_run_name="weigh rates", **AGAIN)
async def rates_so_far(plan: Plan, run_id: str, target: str, slos: list[Slo]) -> list[RateProbe]:
    """The rates that a run has tried against a target, each with whether it was kept up with."""
    return await asyncio.to_thread(tried_run, plan, run_id, target, slos, Settings())
