"""The nights of a baseline as one JSON file, for another machine or for CI.

It holds numbers, digests and times: no rows, no URLs, no headers, no prompts. Functions on a connection are one step
inside a transaction of the book.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb

from storage import memory, results
from storage.disk import trouble
from storage.errors import StorageError, UsageError
from storage.records import CONTROL, Attempt, Cell, Estimate, Run, to_json
from storage.runs import find_run, insert_run
from storage.segments import Segment, all_segments

Con = duckdb.DuckDBPyConnection

SCHEMA = "gatebench.baseline-bundle/1"
MACHINE = ("host", "cpu_model", "cores", "kernel", "container_image", "engine_version", "package")


@dataclass(frozen=True, slots=True)
class Night:
    """What a baseline needs of a run. `cells`: of its first attempt, the control's too."""

    run_id: str
    flow: str
    started_at: str
    ended_at: str | None
    verdict: str | None
    seed: int
    fingerprint: str
    machine: dict[str, Any]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Part:
    """The baseline of one segment: ids of its nights, oldest first."""

    target: str
    series: str
    workload_id: str
    plan_digest: str
    fingerprint: str
    nights: list[str]


@dataclass(frozen=True, slots=True)
class Bundle:
    plan: str  # name of the plan that measured the newest night
    exported_at: str
    parts: list[Part]
    nights: list[Night]

    def text(self) -> str:
        return json.dumps({"schema": SCHEMA, **to_json(self)}, indent=1, allow_nan=False) + "\n"


def read_bundle(path: Path) -> Bundle:
    """Raises UsageError for what is no bundle, StorageError for what cannot be read."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        schema = raw.get("schema")
        if schema != SCHEMA:
            raise UsageError(
                f"{path} is no baseline bundle of this gatebench: its schema is {schema!r}, not {SCHEMA!r}"
            )
        nights = [Night(**{**_known(Night, n), "cells": [_cell(c) for c in n["cells"]]}) for n in raw["nights"]]
        parts = [Part(**_known(Part, part)) for part in raw["parts"]]
        have = {night.run_id for night in nights}
        if not parts or any(not part.nights or not have.issuperset(part.nights) for part in parts):
            raise ValueError("nights are missing")
        return Bundle(str(raw["plan"]), str(raw["exported_at"]), parts, nights)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"there is no file {path}; `gatebench baseline export --out FILE` makes one") from error
        raise trouble(error, path) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is a damaged baseline bundle ({error}); export it again") from error


def bundle_of(con: Con, chosen: Sequence[str], target: str | None, now: str) -> Bundle:
    """Of the segments with these ids or prefixes; without any, of the one of each target and series that was measured
    last. Raises UsageError where there is nothing to export."""
    found = [(segment, memory.members(con, segment.segment_id)) for segment in all_segments(con)]
    found = [(s, m) for s, m in found if m and target in (None, s.target)]
    if chosen:
        found = [(s, m) for s, m in found if any(s.segment_id.startswith(name) for name in chosen)]
    else:
        last = {(s.target, s.series): s for s, _ in sorted(found, key=lambda one: find_run(con, one[1][-1]).started_at)}
        found = [(s, m) for s, m in found if last[s.target, s.series] == s]
    if not found:
        raise UsageError("no baseline of that kind holds any nights yet; `gatebench baseline show` lists what there is")
    runs = {run_id: find_run(con, run_id) for _, members in found for run_id in members}
    newest = max(runs.values(), key=lambda run: run.started_at)
    names = {segment.target for segment, _ in found} | {CONTROL}
    nights = [_night(con, run, names) for run in sorted(runs.values(), key=lambda run: run.started_at)]
    return Bundle(newest.plan_name, now, [_part(segment, members) for segment, members in found], nights)


def take_in(
    con: Con, runs: Sequence[tuple[Run, list[Cell]]], facts: dict[str, str], said: tuple[str, str, str]
) -> tuple[Segment, list[str]]:
    """Runs with their estimates, oldest first, as the baseline of what `facts` say: see `memory.take_nights`. A run
    that the book has already is left as it is."""
    for run, cells in runs:
        if not con.execute("select 1 from runs where run_id = $run_id", {"run_id": run.run_id}).fetchone():
            insert_run(con, run, str(run.environment.get("host") or ""), 0)
            results.put_cells(con, run.run_id, cells)
    return memory.take_nights(con, facts, [run.run_id for run, _ in runs], said)


def _part(segment: Segment, members: list[str]) -> Part:
    facts = {name: getattr(segment, name) for name in Part.__slots__ if name != "nights"}
    return Part(**facts, nights=members)


def _night(con: Con, run: Run, targets: set[str]) -> Night:
    cells = [c for c in results.get_cells(con, run.run_id) if c.attempt == Attempt.FIRST and c.target in targets]
    machine = {name: run.environment.get(name) for name in MACHINE}
    return Night(
        run_id=run.run_id,
        flow=run.flow,
        started_at=run.started_at,
        ended_at=run.ended_at,
        verdict=run.verdict,
        seed=run.seed,
        fingerprint=run.fingerprint or "",
        machine=machine,
        cells=cells,
    )


def _cell(raw: dict[str, Any]) -> Cell:
    return Cell(**{**_known(Cell, raw), "estimate": Estimate(**_known(Estimate, raw["estimate"]))})


def _known(record: Any, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields that we know; a later version may have written more."""
    names = {field.name for field in fields(record)}
    return {name: value for name, value in raw.items() if name in names}
