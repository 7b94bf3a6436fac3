"""The ceiling: levels beyond the plan's where it allows them, and the highest rate that a target keeps up with."""

from dataclasses import replace

from config.load import Load
from config.target import Target
from config.traffic import Ceiling
from flows.legs import Legs
from flows.listen import say
from flows.specs import Setting, load_spec, sweep_specs
from storage.files import RunFiles
from storage.records import CONTROL, Attempt, Cell, RateProbe, Series, Slo, Sustained
from storage.store import Book
from tasks.ceiling import rates_so_far, search_of
from tasks.load.spec import LegSpec
from tasks.report.ceiling import probe_words
from tasks.stats.ceiling import next_level
from tasks.stats.pieces import PIECES
from tasks.stats.quantiles import LEAST
from tasks.stats.search import next_rate
from tasks.summarise import slos, summarise

MOST_WARMUP_S = 30.0


async def widen(legs: Legs, book: Book) -> None:
    """Double the top level up to `extend_to`, target by target, while throughput still rises."""
    setting = legs.setting
    plan = setting.plan
    if plan.sweep.extend_to <= max(plan.sweep.levels):
        return
    for target in plan.targets:
        while legs.stopped() is None:
            await summarise(plan, setting.run_id)
            cells, measured = book.cells(setting.run_id), book.legs(setting.run_id)
            level = next_level(target.name, cells, measured, plan.sweep.extend_to)
            if level is None:
                break
            say(f"{target.name}: throughput still rises; {level} concurrent as well")
            await legs.run(level_specs(setting, target, level))


async def seek(legs: Legs, book: Book) -> list[Sustained]:
    """Try rates against each target until the highest one that it keeps up with is known. Raises NothingMeasured where
    nothing else was measured either and not one request succeeded."""
    setting = legs.setting
    for target in setting.plan.targets:
        if legs.stopped() is None:
            await _seek_one(legs, book, target)
    await summarise(setting.plan, setting.run_id)
    legs.refuse_nothing()
    return book.sustained(setting.run_id)


async def _seek_one(legs: Legs, book: Book, target: Target) -> None:
    setting = legs.setting
    plan, objectives = setting.plan, slos(setting.plan)
    cells = book.cells(setting.run_id)
    search = search_of(plan, target.name, cells, book.legs(setting.run_id))
    if search is None:
        say(f"{target.name}: no level of the sweep finished anything: there is no rate to begin with")
        return
    tried = await rates_so_far(plan, setting.run_id, target.name, objectives)
    while (rate := next_rate(tried, search)) is not None:
        spec = rate_spec(
            setting, target, rate, len(tried) + 1, least_requests(objectives), quickest_s(target, cells, tried)
        )
        if not await legs.probe(spec):
            return
        tried = await rates_so_far(plan, setting.run_id, target.name, objectives)
        if tried[-1].sustained is not None:  # else the leg has told of it
            say(f"{target.name}, {probe_words(tried[-1])}")


def level_specs(setting: Setting, target: Target, level: int) -> list[LegSpec]:
    """One more level of one target, in as many blocks as the others have, without the control: it is not judged."""
    sweep = setting.plan.sweep
    requests = max(sweep.requests_per_leg, 2 * level) * sweep.blocks
    wider = sweep.model_copy(update={"levels": (level,), "requests": requests})
    there = replace(setting, plan=setting.plan.model_copy(update={"sweep": wider}))
    specs = sweep_specs(there, [(target.name, level)], Attempt.PROBE)
    return [spec for spec in specs if spec.target.name != CONTROL]


def rate_spec(
    setting: Setting, target: Target, rate_rps: float, step: int, least: int, quickest_s: float | None
) -> LegSpec:
    """The `step`-th rate that is tried, for as long as `least` requests and a few latencies take. With `max_in_flight`
    requests under way it is given up: that says enough."""
    asked = setting.plan.ceiling
    load = load_of(asked, rate_rps, least, quickest_s)
    load = load.model_copy(update={"stream": setting.plan.sweep.stream})
    leg_id = f"{Attempt.PROBE}-load-{target.name}-{step:02d}"
    return replace(
        load_spec(setting, target, load),
        trial_id=leg_id,
        leg_id=leg_id,
        folder=str(RunFiles(setting.runs_path, setting.run_id).folder / leg_id),
        attempt=Attempt.PROBE,
        level=step,
        warmup_s=min(MOST_WARMUP_S, max(load.warmup_s, 0.0 if quickest_s is None else 2 * quickest_s)),
    )


def load_of(asked: Ceiling, rate_rps: float, least: int, quickest_s: float | None) -> Load:
    seconds = max(asked.duration_s, max(asked.requests, least) / rate_rps)
    seconds = seconds if quickest_s is None else max(seconds, 4 * quickest_s)
    return Load(
        rate_rps=rate_rps,
        duration_s=seconds,
        arrivals=asked.arrivals,
        max_in_flight=asked.max_in_flight,
        on_full="abort",
    )


def least_requests(objectives: list[Slo]) -> int:
    """As many as the blocks of an open-loop leg need for every quantile that an objective names."""
    named = [float(slo.stat[1:]) / 100 for slo in objectives if slo.level is None and slo.stat.startswith("p")]
    return max((PIECES * LEAST[q] for q in named), default=0)


def quickest_s(target: Target, cells: list[Cell], tried: list[RateProbe]) -> float | None:
    """The lowest p95 latency seen so far: what a request takes where nobody waits."""
    swept = [c for c in cells if (c.target, c.series, c.metric) == (target.name, Series.SWEEP, "latency_p95")]
    seen = [p.latency_p95_s for p in tried if p.latency_p95_s is not None]
    return min([c.estimate.point for c in swept] + seen, default=None)
