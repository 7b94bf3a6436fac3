"""A baseline that was measured elsewhere becomes this machine's, where it measured the very same thing."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from config.plan import Plan
from config.settings import Settings
from flows.specs import plan_digest
from storage.bundle import Bundle, Night, Part
from storage.disk import make_folder
from storage.errors import UsageError
from storage.files import RunFiles
from storage.machine import environment, fingerprint
from storage.records import Cell, Run, RunStatus
from storage.segments import Segment
from storage.store import Book
from tasks.characterise import resolve
from tasks.load.leg import ENGINE_VERSION
from tasks.workload import trace


@dataclass(frozen=True, slots=True)
class Taken:
    """`new`: ids of the nights that were not in the baseline before; `elsewhere`: they are another machine's."""

    segment: Segment
    new: list[str]
    elsewhere: bool


def import_bundle(bundle: Bundle, plan: Plan, settings: Settings, who: str, why: str) -> list[Taken]:
    """Each part of a bundle into the segment in which this machine's nights of `plan` are judged.

    Raises UsageError, and changes nothing, where workload or plan differ from those of the bundle.
    """
    book = Book(settings.book_path, settings.book_wait_s)
    plan = plan.here(settings.timeouts)
    name = plan.workload or (plan.name if plan.capture.sources else "")
    workload = trace.read(resolve(name, book, settings.workloads_path)).id
    here = fingerprint(environment(home=settings.home_path, packages=(), engine_version=ENGINE_VERSION))
    found = list(facts_of(bundle, plan, workload, here))
    runs = {night.run_id: (_run(night, bundle, plan, workload, settings), night.cells) for night in bundle.nights}
    taken = []
    for part, facts in found:
        nights: list[tuple[Run, list[Cell]]] = [runs[run_id] for run_id in part.nights]
        segment, new = book.watch.take_in(nights, facts, who, why)
        taken.append(Taken(segment, new, part.fingerprint != here))
    for run, _ in runs.values():  # so that the book can be made again from the files beside it
        make_folder(RunFiles(settings.runs_path, run.run_id).folder)
        book.keep_results(run.run_id)
    return taken


def facts_of(bundle: Bundle, plan: Plan, workload_id: str, here: str) -> Iterator[tuple[Part, dict[str, str]]]:
    """(part, the facts of its segment on the machine whose fingerprint is `here`). Raises UsageError."""
    for part in bundle.parts:
        if part.workload_id != workload_id:
            raise UsageError(
                f"the bundle's nights were measured with workload {part.workload_id[:16]}, plan {plan.name!r} measures "
                f"with {workload_id[:16]}; pin the same one here (gatebench baseline accept --workload W.parquet "
                f"--name {plan.name}), or export a baseline of this one"
            )
        target = next((target for target in plan.targets if target.name == part.target), None)
        if target is None:
            have = ", ".join(target.name for target in plan.targets)
            raise UsageError(
                f"the bundle has nights of target {part.target!r}, plan {plan.name!r} has {have}; name the "
                "target so, or export with --target"
            )
        digest = plan_digest(plan, target, part.series)
        if digest != part.plan_digest:
            raise UsageError(
                f"plan {plan.name!r} does not measure {part.target}'s {part.series} as the bundle's nights were "
                "measured (levels, requests, blocks, model, timeouts …); use the plan that they were measured by"
            )
        yield (
            part,
            {
                "target": part.target,
                "series": part.series,
                "workload_id": workload_id,
                "plan_digest": digest,
                "fingerprint": here,
            },
        )


def _run(night: Night, bundle: Bundle, plan: Plan, workload_id: str, settings: Settings) -> Run:
    """A night as the book keeps it. Where it was measured is its environment; this machine's plan measures the same."""
    host = night.machine.get("host")
    environment: dict[str, Any] = {**night.machine, "imported": {"exported_at": bundle.exported_at}}
    return Run(
        run_id=night.run_id,
        flow=night.flow,
        plan_name=plan.name,
        status=RunStatus.COMPLETED,
        scheduled=True,
        started_at=night.started_at,
        ended_at=night.ended_at,
        verdict=night.verdict,
        exit_code=0,
        reason=" from ".join(["imported", *([str(host)] if host else [])]),
        workload_id=workload_id,
        seed=night.seed,
        fingerprint=night.fingerprint,
        plan=plan.model_dump(mode="json"),
        environment=environment,
        path=str(RunFiles(settings.runs_path, night.run_id).folder),
    )


def as_json(taken: list[Taken]) -> dict[str, Any]:
    return {"schema": "gatebench.baseline-import/1", "segments": [asdict(one) for one in taken]}
