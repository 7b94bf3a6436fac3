"""Repeated measurements of a target, or its stored nights -> an A/A study in the book."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from prefect import task

from config.plan import Plan
from config.settings import Settings
from storage.errors import NothingMeasured, UsageError
from storage.files import RunFiles
from storage.records import CONTROL, Noise, Series
from storage.segments import Segment
from storage.store import Book, wall_clock
from tasks.again import ONCE
from tasks.stats.noisy import advice, warnings
from tasks.stats.outlook import outlook
from tasks.stats.repeats import Figure, Study, figures, of_blocks, of_nights, parts
from tasks.stats.rules import GateRules

LEAST_NIGHTS = 5
MOST_NIGHTS = 200
SEED = 7
SIMULATED = 400  # quiet nights; a fifth of them an effect


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement: a run of the book, by the run (from 1) and the process (from 1) of the study that it is."""

    run_id: str
    run: int
    process: int


def study_runs(turns: Sequence[Turn], plan: Plan, settings: Settings, simulated: int = SIMULATED) -> Noise:
    """Reads the rows on disk. Raises NothingMeasured where too few blocks are whole."""
    book = Book(settings.book_path, settings.book_wait_s)
    found: list[tuple[int, int, dict[int, list[Figure]]]] = []
    for number, turn in enumerate(turns):
        samples = RunFiles(settings.runs_path, turn.run_id).samples()
        found.append((turn.run, number, figures(samples, book.legs(turn.run_id))))
    try:
        study = of_blocks(found, plan.sweep.blocks)
    except ValueError as error:
        raise NothingMeasured(f"the A/A study has too little to go by: {error}; give --runs 3 and --blocks 2") from None
    first = book.run(turns[0].run_id)
    return _noise(
        study, "measured", plan.targets[0].name, [turn.run_id for turn in turns], plan.judge.min_effect, book,
        first.workload_id or "", first.fingerprint or "", plan.seed, simulated,
    )  # fmt: skip


def study_history(name: str, settings: Settings, simulated: int = SIMULATED) -> Noise:
    """`WORKLOAD/TARGET`, the workload by its pinned name or the beginning of its id, or a target alone: the baseline
    nights of its newest segment. Raises UsageError where they are too few."""
    book = Book(settings.book_path, settings.book_wait_s)
    segment = _segment(name, book)
    runs = book.baseline_runs(segment.segment_id)[-MOST_NIGHTS:]
    if len(runs) < LEAST_NIGHTS:
        raise UsageError(
            f"{len(runs)} of the {LEAST_NIGHTS} nights needed are in the baseline of {segment.target}; "
            "measure more nights, or the setup now: gatebench aa --url …"
        )
    try:
        study = of_nights([book.cells(run) for run in runs], segment.target)
    except ValueError as error:
        raise UsageError(f"the nights of {segment.target} say too little: {error}") from None
    effect = float(book.run(runs[-1]).plan.get("judge", {}).get("min_effect", GateRules().min_effect))
    return _noise(
        study, "history", segment.target, runs, effect, book, segment.workload_id, segment.fingerprint, SEED, simulated,
    )  # fmt: skip


def _segment(name: str, book: Book) -> Segment:
    workload, _, target = name.rpartition("/")
    pinned = book.pinned(workload) if workload else None
    wanted = workload if pinned is None else pinned.workload_id
    swept = [segment for segment in book.segments() if segment.series == Series.SWEEP]
    fitting = [s for s in swept if s.target == target and s.workload_id.startswith(wanted)]
    if fitting:
        return max(fitting, key=lambda s: (s.opened_at, s.generation))
    there = ", ".join(dict.fromkeys(f"{s.workload_id[:12]}/{s.target}" for s in swept))
    raise UsageError(f"no nights of {name!r}; there are {there}" if there else "no night was judged yet in this book")


def _noise(
    study: Study,
    source: str,
    target: str,
    runs: list[str],
    min_effect: float,
    book: Book,
    workload_id: str,
    fingerprint: str,
    seed: int,
    simulated: int,
) -> Noise:
    """What the gate would do is simulated here; kept in the book."""
    found = parts(study, target)
    rules, rng = GateRules(min_effect=min_effect), np.random.default_rng(seed)
    expected = outlook(study, rng=rng, rules=rules, quiet=simulated, changed=max(5, simulated // 5))
    control = parts(study, CONTROL)
    noise = Noise(
        noise_id=f"aa-{runs[-1]}",
        made_at=wall_clock(),
        source=source,
        target=target,
        workload_id=workload_id,
        fingerprint=fingerprint,
        runs=runs,
        groups=study.groups,
        processes=study.processes,
        blocks=study.blocks,
        dropped=study.dropped,
        parts=found,
        control=control[-1] if control else None,
        outlook=expected,
        warnings=warnings(expected),
        advice=advice(found, study.blocks),
    )
    book.watch.add_noise(noise)
    return noise


@task(name="study", task_run_name="study", **ONCE)
async def study(turns: list[Turn], plan: Plan, simulated: int) -> Noise:
    return await asyncio.to_thread(study_runs, turns, plan, Settings(), simulated)
