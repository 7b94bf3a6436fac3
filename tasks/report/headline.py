"""What a run means, in sentences: the same words in the page, the terminal, the artifact and the alert."""

from storage.errors import StoppedEarly
from storage.records import CONTROL, Attempt, Ceiling, Leg, RunStatus, Series, Validity, Verdict, Word
from tasks.charts.words import (
    count,
    effect_words,
    estimate_words,
    listed,
    metric_words,
    place_words,
    slo_words,
    value_words,
)
from tasks.report.ceiling import sustained_words
from tasks.report.gateway import unfair_lines
from tasks.report.resumed import resumed_word
from tasks.report.side_by_side import compared_words, length_lines
from tasks.report.view import (
    RunView,
    broken,
    changed,
    estimate,
    levels,
    moved_effect,
    nights,
    targets,
    tone,
    validity,
    word,
)

DUE_SHARE = 1.5  # from this ratio of response time to latency on, a sentence about latency tells of both


def headline(view: RunView) -> str:
    """The verdict in a sentence with its reason; a broken objective is said with it, and what makes it unfair."""
    main = _main(view)
    objectives = [slo_words(r.slo, r.point) for r in view.slo_results if r.ok is False]
    unjudged = [r.slo.text for r in view.slo_results if r.ok is None]
    said = [main]
    if objectives:
        text = f"{'Objective' if len(objectives) == 1 else 'Objectives'} broken: {'; '.join(objectives)}."
        said = [main, text] if word(view) in (Word.REGRESSED, Word.INVALID) else [text, main]
    if unjudged:
        said.append(f"Nothing to judge {listed(unjudged)} by.")
    unfair = [*length_lines(view), *unfair_lines(view)]
    if unfair:
        said.append(f"Mind that {'; '.join(unfair)}.")
    return " ".join([*said, *filter(None, [resumed_word(view.run)])])


def colour(view: RunView) -> str:
    """How the headline is coloured: the verdict's tone, and a warning where a good one is of an unfair comparison."""
    said = tone(view)
    return "warn" if said in ("good", "quiet") and (unfair_lines(view) or length_lines(view)) else said


def moved_words(view: RunView, verdict: Verdict, verb: str = " is") -> str:
    """`p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]`; the target named where there are several."""
    where = f"{metric_words(verdict.metric)} {place_words(verdict.series, verdict.level)}"
    if len(targets(view)) > 1:
        where = f"{verdict.target}: {where}"
    tonight = estimate(view, verdict.target, verdict.series, verdict.level, verdict.metric)
    effect = moved_effect(verdict)
    if tonight is None and effect is None:
        return f"{where}: {verdict.reason}"
    if effect is None:
        assert tonight is not None
        return f"{where}{verb} {value_words(verdict.metric, tonight.point)} ({verdict.reason})"
    if tonight is None:
        return f"{where}{verb} {effect_words(*effect)}"
    return f"{where}{verb} {value_words(verdict.metric, tonight.point)}, {effect_words(*effect)}"


def ceiling_words(ceiling: Ceiling) -> str:
    """`reached 798/s at 50 concurrent, limited by capacity`, or `at least 798/s …: still rising`."""
    rate = estimate_words("throughput", ceiling.throughput_rps)
    if ceiling.limited_by == "generator":
        return f"unknown: gatebench itself was the limit at {rate}, {ceiling.concurrency} concurrent"
    if not ceiling.reached:
        why = "throughput was still rising at the top level"
        if ceiling.limited_by not in ("none", "capacity"):
            why = f"stopped by {ceiling.limited_by}"
        return f"at least {rate} at {ceiling.concurrency} concurrent: {why}"
    limit = "" if ceiling.limited_by == "none" else f", limited by {ceiling.limited_by}"
    return f"reached {rate} at {ceiling.concurrency} concurrent{limit}"


def _main(view: RunView) -> str:
    said = word(view)
    measured = sum(leg.measured for leg in view.legs)
    if said is None and view.run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED, RunStatus.CANCELLED):
        why = f": {_stop(view.run.reason)}" if view.run.reason else "."
        return (
            f"No verdict, the run {'failed' if view.run.status == RunStatus.FAILED else f'was {view.run.status}'}{why}"
        )
    if measured == 0 and not view.cells and not view.sustained:
        why = f": {_stop(view.run.reason)}" if view.run.reason else "."
        return f"Nothing measured{why}"
    if view.comparisons and said is not Word.INVALID and not _ended_early(view):
        return compared_words(view, said)
    if said is None:
        return _unjudged(view)
    return {
        Word.REGRESSED: _regressed,
        Word.IMPROVED: _improved,
        Word.UNCHANGED: _unchanged,
        Word.INCONCLUSIVE: _inconclusive,
        Word.INVALID: _invalid,
    }[said](view)


def _moved(view: RunView, said: Word) -> str:
    found = [v for v in changed(view) if v.verdict == said]
    if not found:
        return f"{said.value.capitalize()}: {_stop(view.run.reason or 'see the verdicts')}"
    worst, rest = found[0], len(found) - 1
    more = f" ({rest} more {'verdict' if rest == 1 else 'verdicts'} {said.value})" if rest else ""
    drift = next((f"; {v.reason}" for v in found if v.reason.startswith("drift")), "")
    against = count(nights(view, worst), "night")
    return f"{said.value.capitalize()}: {moved_words(view, worst)} against {against}{more}{drift}."


def _regressed(view: RunView) -> str:
    return _moved(view, Word.REGRESSED)


def _improved(view: RunView) -> str:
    return _moved(view, Word.IMPROVED)


def _unchanged(view: RunView) -> str:
    seen = [v for v in view.verdicts if v.effect is not None]
    if not seen:
        return f"Unchanged: nothing moved against {count(len(view.baseline_runs), 'night')}."
    most = max(seen, key=lambda v: abs(v.effect or 0.0))
    text = f"Unchanged against {count(nights(view, most), 'night')}: the largest move is {moved_words(view, most, ',')}"
    p95 = [v.detectable for v in seen if v.metric == "latency_p95" and v.detectable is not None]
    sight = f"; {max(p95) * 100:.0f} % more p95 latency would have been seen at any level" if p95 else ""
    return f"{text}{sight}."


def _inconclusive(view: RunView) -> str:
    open_ones = [v for v in view.verdicts if v.verdict == Word.INCONCLUSIVE]
    reason = view.run.reason or next((v.reason for v in open_ones), "")
    reason = reason.removeprefix("inconclusive").lstrip(": ") or "cannot tell"
    moved = [v for v in open_ones if v.reason == "candidate" and v.effect is not None]
    tail = f" {len(moved)} unconfirmed: {moved_words(view, moved[0])}." if moved else ""
    return f"Inconclusive: {_stop(reason)}{tail}"


def _invalid(view: RunView) -> str:
    legs = _ours(view)
    if not legs and _ended_early(view):
        return _cut_short(view)
    if not legs:
        return f"Invalid: {_stop(view.run.reason or 'the measurement cannot be trusted')}"
    _, reasons = validity(legs)
    at = listed(dict.fromkeys(place_words(leg.series, leg.level) for leg in legs))
    why = f" ({'; '.join(reasons[:2])})" if reasons else ""
    return (
        f"Invalid: the generator was the limit in {len(legs)} of {count(len(_of_targets(view)), 'leg')}, {at}{why}; "
        "these numbers say nothing about the target."
    )


def _of_targets(view: RunView) -> list[Leg]:
    """The legs that the verdict is about: no calibration, no control, and no search for the ceiling."""
    mine = [leg for leg in view.legs if leg.target != CONTROL and leg.series != Series.CALIBRATION]
    return [leg for leg in mine if leg.attempt != Attempt.PROBE]


def _ours(view: RunView) -> list[Leg]:
    """Legs in which the generator was the limit, and nobody stopped them."""
    return [leg for leg in _of_targets(view) if leg.validity == Validity.INVALID and leg.stopped is None]


def _ended_early(view: RunView) -> bool:
    """By its budget, by the error breaker or by hand: told of a leg, or of the run where it ended between two."""
    return view.run.exit_code == StoppedEarly.exit_code or any(leg.stopped for leg in view.legs)


def _cut_short(view: RunView) -> str:
    stopped = next((leg for leg in view.legs if leg.stopped is not None), None)
    reason = view.run.reason or next(iter(stopped.reasons if stopped is not None else []), "")
    mine = [leg for leg in view.legs if leg.target in targets(view)]
    whole = sum(leg.stopped is None for leg in mine)
    why = f" ({reason})" if reason else ""
    said = _so_far(view)
    return f"Stopped early{why} after {count(whole, 'whole leg')}" + (f"; so far {'; '.join(said)}." if said else ".")


def _unjudged(view: RunView) -> str:
    if _ours(view):
        return _invalid(view)
    if _ended_early(view):
        return _cut_short(view)
    said = _so_far(view)
    return f"Measured, not judged: {'; '.join(said)}." if said else "Measured, not judged."


def _so_far(view: RunView) -> list[str]:
    """Ceilings, and the p95 latency at the lowest and the highest load."""
    several = len(targets(view)) > 1
    said = [f"{s.target + ': ' if several else ''}sustains {sustained_words(s)}" for s in view.sustained]
    said += [f"{c.target + ': ' if several else ''}ceiling {ceiling_words(c)}" for c in view.ceilings]
    for target in targets(view):
        at = levels(view, target)
        found = [(key, estimate(view, target, *key, "latency_p95")) for key in (at[:1] + at[1:][-1:])]
        for key, e in found:
            if e is not None:
                due = due_words(view, target, *key)
                what = value_words("latency_p95", e.point) + (f" ({due})" if due else "")
                said.append(f"p95 latency {what} {place_words(*key)}")
    return said


def due_words(view: RunView, target: str, series: str, level: int) -> str | None:
    """`3,900 ms from when they were due`, where requests waited to be sent and latency hides the wait; else None."""
    latency = estimate(view, target, series, level, "latency_p95")
    response = estimate(view, target, series, level, "response_p95")
    if latency is None or response is None or response.point < DUE_SHARE * latency.point:
        return None
    return f"{value_words('response_p95', response.point)} from when they were due"


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def regressed_lines(view: RunView) -> list[str]:
    """One sentence a regression, the worst first, for a message."""
    return [moved_words(view, verdict) for verdict in changed(view) if verdict.verdict == Word.REGRESSED]


def objective_lines(view: RunView) -> list[str]:
    """One sentence an objective that was not met, or that had nothing to judge it by."""
    several = len(targets(view)) > 1
    return [f"{r.target + ': ' if several else ''}{slo_words(r.slo, r.point)}" for r in broken(view)]


def incident_lines(view: RunView) -> list[str]:
    """`1, open since 2026-11-05 (p95 latency, p99 latency): gatebench incidents show 1`, one an incident."""
    return [
        f"{one.incident_id}, {one.status} since {one.since[:10]} "
        f"({', '.join(metric_words(s.metric) for s in one.symptoms)}): gatebench incidents show {one.incident_id}"
        for one in view.incidents
    ]
