"""A workload -> one like it on disk, with its fidelity beside it; and two workloads held against each other."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storage.disk import write_aside
from storage.errors import UsageError
from tasks.load import curve
from tasks.workload import trace
from tasks.workload.fidelity import Fidelity, compare
from tasks.workload.likeness import to_json
from tasks.workload.sketch import sketch
from tasks.workload.synthesis import at_starts, reference, synthesise
from tasks.workload.trace import Workload

KINDS = ("recorded", "constant", "poisson", "gamma", "ramp")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a synthetic workload is to be. `arrivals` recorded: the source's rate curve and gaps; the others are at a
    rate, the source's own where `rate_rps` is None; `cv` for gamma, `to_rps` for a ramp."""

    seed: int
    duration_ns: int | None = None
    rate_scale: float = 1.0
    arrivals: str = "recorded"
    rate_rps: float | None = None
    to_rps: float | None = None
    cv: float = 1.0
    sessions: bool | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A synthetic workload on disk. `path` and `report` (its fidelity, JSON) are absolute; no fidelity: it was made of
    a profile."""

    workload_id: str
    path: str
    report: str | None
    method: str
    fidelity: Fidelity | None


def synthesise_to(source: Path, wish: Wish, out: Path) -> Made:
    """Write `out` and, beside it, its fidelity with the ending .fidelity.json. Of a profile (JSON) a sketch is made,
    and there is nothing to hold it against. Raises UsageError, NothingMeasured, StorageError."""
    profile = profile_in(source)
    if profile is not None:
        drawn = sketch(profile, wish.seed)
        made = drawn if wish == Wish(wish.seed) else make(drawn, wish)
        return Made(trace.write(made, out), str(out.resolve()), None, _method(made), None)
    parent = trace.read(source)
    made = make(parent, wish)
    found = compare(reference(parent, wish.duration_ns), made, rate_scale=wish.rate_scale)
    workload_id = trace.write(made, out)
    report = out.with_suffix(".fidelity.json")
    said = {**to_json(found), "workload_id": workload_id, "parent": parent.id}
    write_aside(report, json.dumps(said, indent=1, allow_nan=False) + "\n")
    return Made(workload_id, str(out.resolve()), str(report.resolve()), _method(made), found)


def _method(made: Workload) -> str:
    return "" if made.header.method is None else made.header.method


def profile_in(path: Path) -> dict[str, Any] | None:
    """The profile in a JSON file; None for any other file."""
    if path.suffix != ".json":
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the profile {path}: {error}") from None
    return found if isinstance(found, dict) else {}


def make(source: Workload, wish: Wish) -> Workload:
    """The workload wished for. Raises UsageError where the wish contradicts itself."""
    if wish.arrivals not in KINDS:
        raise UsageError(f"arrivals {wish.arrivals!r}: must be one of {', '.join(KINDS)}")
    if wish.arrivals == "recorded":
        if wish.rate_rps is not None or wish.to_rps is not None:
            raise UsageError("a rate needs arrivals: constant, poisson, gamma or ramp; recorded arrivals take a scale")
        _refuse_spread(wish)
        return synthesise(
            source, wish.seed, duration_ns=wish.duration_ns, rate_scale=wish.rate_scale, sessions=wish.sessions
        )
    if wish.sessions:
        raise UsageError(f"sessions are kept with recorded arrivals only, not with {wish.arrivals} ones")
    if (wish.arrivals == "ramp") != (wish.to_rps is not None):
        raise UsageError("ramp arrivals need --to-rate, the rate they end at; no other arrivals take it")
    _refuse_spread(wish)
    whole = reference(source, wish.duration_ns)
    seconds = (whole.header.span_ns if wish.duration_ns is None else wish.duration_ns) / 1e9
    own = (len(whole) - 1) / max(whole.header.span_ns / 1e9, 1e-9)
    first = (own if wish.rate_rps is None else wish.rate_rps) * wish.rate_scale
    last = first if wish.to_rps is None else wish.to_rps * wish.rate_scale
    cv = {"poisson": 1.0, "gamma": wish.cv}.get(wish.arrivals)
    starts = curve.starts([(seconds, first, last)], cv, np.random.default_rng(wish.seed))
    said = f"{wish.arrivals} arrivals, {first:.4g}/s" + (f" to {last:.4g}/s" if wish.to_rps is not None else "")
    said += f", CV {wish.cv:g}" if wish.arrivals == "gamma" else ""
    return at_starts(whole, starts.tolist(), wish.seed, f"{said}, joint rows")


def _refuse_spread(wish: Wish) -> None:
    if wish.arrivals != "gamma" and wish.cv != 1.0:
        raise UsageError(f"--cv is the spread of gamma gaps; {wish.arrivals} arrivals have none, use --arrivals gamma")


def compare_files(source: Path, copy: Path, rate_scale: float = 1.0) -> Fidelity:
    """Two workloads on disk. Raises UsageError and NothingMeasured."""
    return compare(trace.read(source), trace.read(copy), rate_scale=rate_scale)


def report_of(path: Path, workload_id: str) -> dict[str, Any] | None:
    """The fidelity that was written beside a synthetic workload; None if there is none, or if it is of another one."""
    beside = path.with_suffix(".fidelity.json")
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("workload_id") == workload_id else None
