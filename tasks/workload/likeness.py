"""A fidelity report as JSON and as lines to read: each distance with its limit and its noise floor."""

from dataclasses import asdict
from textwrap import wrap
from typing import Any

from tasks.workload.fidelity import Fidelity, Measure

SCHEMA = "gatebench.fidelity/1"
SHOWN = 3
NAMES = {
    "rate_ratio": "rate, times the source's",
    "arrival_ks": "arrival curve, KS",
    "gap_ks": "gaps, KS",
    "dispersion_1s": "dispersion at 1 s, ratio",
    "dispersion_10s": "dispersion at 10 s, ratio",
    "dispersion_60s": "dispersion at 60 s, ratio",
    "dispersion_300s": "dispersion at 300 s, ratio",
    "joint_ks": "sizes in and out, joint KS",
    "mix_distance": "model mix, distance",
    "input_load_60s": "input tokens a minute, spread ratio",
    "output_load_60s": "output tokens a minute, spread ratio",
    "count_ratio": "sent, of those due",
    "lag_p50_ms": "lag p50, ms",
    "lag_p99_ms": "lag p99, ms",
    "lag_max_ms": "lag max, ms",
}


def title(found: Fidelity) -> str:
    """One line: what was held against what, and how it came out."""
    a, b = found.counts
    if found.kind == "replay":
        head = f"{found.source}: {b:,} sent of {a:,} due"
        return f"{head}, as recorded" if found.ok else f"{head}; not as recorded: {_outside(found)}"
    head = f"{found.copy} ({b:,} requests) against {found.source} ({a:,})"
    if not found.ok:
        return f"{head}: outside in {_outside(found)}"
    unsure = [NAMES[m.name] for m in found.measures if m.unsure]
    return f"{head}: within the limits" + (f", as far as can be told (not {', '.join(unsure)})" if unsure else "")


def to_json(found: Fidelity) -> dict[str, Any]:
    """The report with what it says in words, so that a page needs to know nothing of it."""
    rows = [
        {**asdict(m), "ok": m.ok, "what": NAMES[m.name], "limit": limit(m), "said": verdict(m)} for m in found.measures
    ]
    return {"schema": SCHEMA, "title": title(found), "ok": found.ok, **asdict(found), "measures": rows}


def in_words(found: Fidelity, columns: int = 80) -> str:
    """The title, a line for each measure and the notes, without a trailing newline; text is folded at `columns`."""
    wide = max(len(NAMES[m.name]) for m in found.measures)
    lines = [*wrap(title(found), columns), f"{'':{wide}}  {'value':>8}  {'limit':>10}  {'noise floor':>11}"]
    for m in found.measures:
        floor = "" if m.floor is None else f"{m.floor:.3f}"
        word = "unsure" if m.unsure else verdict(m)
        lines.append(f"{NAMES[m.name]:{wide}}  {m.value:8.3f}  {limit(m):>10}  {floor:>11}  {word}".rstrip())
    unsure = ["unsure: nobody can tell, for the source differs from itself by as much"]
    notes = [*(unsure if any(m.unsure for m in found.measures) else []), *found.notes]
    return "\n".join([*lines, *(line for note in notes for line in wrap(note, columns))])


def limit(m: Measure) -> str:
    """`<= 0.05`, `0.7 to 1.4`, `= 1`, or nothing."""
    if m.lower is None and m.upper is None:
        return ""
    if m.lower is None:
        return f"≤ {m.upper:g}"
    return f"= {m.lower:g}" if m.lower == m.upper else f"{m.lower:g} to {m.upper:g}"


def verdict(m: Measure) -> str:
    """in, out, or what a noise floor leaves open; nothing where it is not judged."""
    if m.lower is None and m.upper is None:
        return ""
    return "in" if m.ok else "OUT" if m.ok is False else "cannot tell: the source's own noise is larger"


def _outside(found: Fidelity) -> str:
    out = [f"{NAMES[m.name]} {m.value:.3f} ({limit(m)})" for m in found.measures if m.ok is False]
    return ", ".join(out[:SHOWN]) + (f" and {len(out) - SHOWN} more" if len(out) > SHOWN else "")
