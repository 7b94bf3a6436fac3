"""How a run begins: anew, or at the leg where an earlier try at it stopped."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.plan import Plan
from config.settings import Settings
from flows import wording
from flows.earlier import FLOW_RUNS, LIBRARIES, ORDER, RESUMED
from flows.forecast import afford, forecast
from flows.ground import PROBED, Headers
from flows.intake import take_in
from flows.listen import say
from flows.order import Order, order_json
from storage.files import RunFiles, new_run_id
from storage.machine import environment, fingerprint
from storage.records import CONTROL, Attempt, Calibration, Leg, Run, RunStatus, Series
from storage.store import Book, wall_clock
from tasks.characterise import characterise, resolve
from tasks.charts.words import count
from tasks.load.leg import ENGINE_VERSION
from tasks.workload import trace


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that stands in the book. `likeness`: fidelity of the traffic that was captured before it; `closed`: legs
    that were measured in an earlier try, `rows_aside` what it had of others against the
    targets."""

    run: Run
    files: RunFiles
    likeness: list[dict[str, Any]] = field(default_factory=list)
    closed: Mapping[str, Leg] = field(default_factory=dict)
    rows_aside: int = 0

    @property
    def workload(self) -> str:
        """Path, absolute."""
        return str(self.run.environment["workload_path"])

    @property
    def workload_id(self) -> str:
        assert self.run.workload_id is not None
        return self.run.workload_id

    @property
    def tokens_per_word(self) -> float:
        return float(self.run.environment[wording.KEY])


async def begin(order: Order, settings: Settings, book: Book, headers: Headers, flow_run: str | None) -> Begun:
    """A new run: new logs captured, the workload chosen, the cost weighed. Raises what these raise."""
    plan = order.plan
    name = plan.workload or (plan.name if plan.capture.sources and order.capture else "")
    likeness: list[dict[str, Any]] = []
    if order.capture and plan.capture.sources:
        likeness = (await take_in(plan, name, book, settings.workloads_path)).reports
    workload = await characterise(str(resolve(name, book, settings.workloads_path)))
    _afford(order, Path(workload.path))
    files = RunFiles(settings.runs_path, new_run_id(order.flow, datetime.now(UTC)))
    facts = environment(home=settings.home_path, packages=LIBRARIES, engine_version=ENGINE_VERSION)
    facts |= {
        "workload_path": workload.path,
        "target_headers": headers,
        "samples_path": str(files.folder),
        wording.KEY: await _wording(plan, book, workload.workload_id),
        ORDER: order_json(order),
        FLOW_RUNS: [] if flow_run is None else [flow_run],
    }
    run = _record(order, files, facts, workload.workload_id)
    await asyncio.to_thread(book.start_run, run)
    files.write_run(run)
    if likeness:
        files.write_fidelity(likeness)  # for a later try at this run
    say(f"run {run.run_id}: {', '.join(t.name for t in plan.targets)}; workload of {workload.count} requests")
    return Begun(run, files, likeness)


async def go_on(
    run: Run, settings: Settings, book: Book, flow_run: str | None, say: Callable[[str], None] = say
) -> Begun:
    """The run as an earlier try left it: its whole legs stay, rows of the others are set aside."""
    files = RunFiles(settings.runs_path, run.run_id)
    blocks = int(run.plan["sweep"]["blocks"])
    kept, aside = await asyncio.to_thread(_sort_out, files, book.calibrations(run.run_id), blocks)
    mine = [leg for leg in kept.values() if leg.series != Series.CALIBRATION]
    lost = sum(aside.values())
    again = {
        "at": wall_clock(),
        "kept": len(mine),
        "rows_set_aside": lost,
        "ended": run.ended_at,
        "status": run.status,
        "reason": run.reason,
    }
    before = run.environment
    facts = {**before, RESUMED: [*before.get(RESUMED, []), again]}
    facts[FLOW_RUNS] = list(dict.fromkeys([*before[FLOW_RUNS], *([] if flow_run is None else [flow_run])]))
    taken = await asyncio.to_thread(book.resume_run, run.run_id, facts)
    files.write_run(taken)
    rows = f", set {count(lost, 'row')} of others aside" if lost else ""
    say(f"run {run.run_id} goes on: kept {count(len(mine), 'leg')} from before it was {run.status}{rows}")
    likeness = [report for report in files.read_fidelity() if report["about"] not in ("replay", "workload")]
    return Begun(taken, files, likeness, kept, lost - aside[CONTROL])


def _sort_out(files: RunFiles, calibrations: list[Calibration], blocks: int) -> tuple[dict[str, Leg], Counter[str]]:
    """(legs that are whole, rows of the others, which are set aside, by target). A leg that somebody stopped is not
    whole, nor is half a calibration, nor a level beyond the plan's of which blocks are missing: by what it has, the
    next level would be chosen."""
    closed = {leg.leg_id: leg for leg in files.legs()}
    shapes = {f"calibration-{'stream' if c.stream else 'plain'}-{c.transport}" for c in calibrations}
    beyond = Counter(leg.trial_id for leg in closed.values() if leg.attempt == Attempt.PROBE)

    def whole(leg_id: str) -> bool:
        if leg_id.startswith("calibration-"):
            return leg_id.rpartition("-")[0] in shapes
        leg = closed.get(leg_id)
        if leg is None or leg.stopped == "interrupted":
            return False
        return leg.attempt != Attempt.PROBE or leg.series != Series.SWEEP or beyond[leg.trial_id] == blocks

    aside: Counter[str] = Counter()
    for leg_id in files.begun():
        if not whole(leg_id):
            calibration = leg_id.startswith("calibration-")
            aside.update({} if calibration else dict(files.samples(leg_id).group_by("target").len().collect().rows()))
            files.set_aside(leg_id)
    return {leg_id: leg for leg_id, leg in closed.items() if whole(leg_id)}, aside


def _record(order: Order, files: RunFiles, facts: dict[str, Any], workload_id: str) -> Run:
    return Run(
        run_id=files.run_id,
        flow=order.flow,
        plan_name=order.plan.name,
        status=RunStatus.RUNNING,
        scheduled=order.scheduled,
        started_at=wall_clock(),
        ended_at=None,
        verdict=None,
        exit_code=None,
        reason=None,
        workload_id=workload_id,
        seed=order.plan.seed,
        fingerprint=fingerprint(facts),
        plan=order.plan.model_dump(mode="json"),
        environment=facts,
        path=str(files.folder),
    )


def _afford(order: Order, workload: Path) -> None:
    """Raises StoppedEarly for a run that plainly costs more than its budget."""
    read = trace.read(workload)
    if order.replay and order.plan.replay.window:
        read = trace.window(read, order.plan.replay.window)
    parts = {"sweep": order.sweep, "replay": order.replay, "ceiling": order.ceiling}
    warnings = afford(forecast(order.plan, read.frame, load=order.load, **parts), order.plan.budget)
    if PROBED.get() is None:  # the command line has said them already
        for warning in warnings:
            say(warning)


async def _wording(plan: Plan, book: Book, workload_id: str) -> float:
    """Tokens a word: as in earlier runs of this plan and workload, else as a target counts them now."""
    now = await wording.tokens_per_word(plan)
    before = wording.kept(await asyncio.to_thread(book.runs, 200), plan.name, workload_id)
    if before is not None and now is not None and now != before:
        say(f"a word of our prompts is {now:g} tokens by the target's count and was {before:g}: another tokenizer?")
    if before is None and now is None:
        say("no target tells its token counts: prompts are as long as one token a word makes them")
    return next((value for value in (before, now) if value is not None), 1.0)
