"""A run as JUnit XML: a case for each number that was judged, each objective, each load that was measured.

`failure`: regressed, or an objective that was broken or had nothing to judge it by. `skipped`: inconclusive. `error`:
the measurement is invalid. The shape is the one that Jenkins, GitLab and GitHub's reporters read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as ET

from storage.records import Comparison, Validity, Verdict, Word
from tasks.charts.words import effect_words, metric_words, place_words, plain, slo_words, value_words
from tasks.report.headline import headline, moved_words
from tasks.report.side_by_side import moved_of
from tasks.report.view import RunView, first_legs, levels, targets, validity

OUTCOMES = {
    Word.REGRESSED.value: "failure",
    Word.INCONCLUSIVE.value: "skipped",
    Word.INVALID.value: "error",
}


@dataclass(frozen=True)
class Case:
    """`outcome`: failure, error, skipped, or None where it passed; `said`: why, in a sentence."""

    group: str
    name: str
    outcome: str | None
    kind: str
    said: str
    seconds: float = 0.0


def junit_xml(view: RunView) -> str:
    """One suite, named after flow and plan, its cases grouped by what they are of."""
    run = view.run
    facts = {"run": run.run_id, "headline": headline(view), "verdict": run.verdict, "exit code": run.exit_code}
    facts |= {"workload": run.workload_id, "fingerprint": run.fingerprint, "report": run.report}
    known = {name: str(value) for name, value in facts.items() if value is not None}
    name = f"gatebench {run.flow} {run.plan_name}"
    return _document(name, cases(view), known, run.started_at, _lasted(run.started_at, run.ended_at))


def error_xml(name: str, said: str) -> str:
    """A run that ended without a result, as one case that could not be judged."""
    case = Case(f"gatebench.{name}", "measured", "error", "no result", said)
    return _document(f"gatebench {name}", [case], {}, None, 0.0)


def cases(view: RunView) -> list[Case]:
    """Verdicts or comparisons first, then objectives, then how far each load can be trusted."""
    judged = [_verdict(view, one) for one in view.verdicts]
    pairs = [_comparison(one) for one in view.comparisons if one.verdict]
    return [*judged, *pairs, *_objectives(view), *_loads(view)]


def _verdict(view: RunView, one: Verdict) -> Case:
    name = f"{metric_words(one.metric)} {place_words(one.series, one.level)}"
    said = f"{moved_words(view, one)}: {one.verdict}" + _because(one.verdict, one.reason)
    return Case(f"{one.target}.{one.series}", name, OUTCOMES.get(one.verdict), one.verdict, said)


def _comparison(one: Comparison) -> Case:
    moved = moved_of(one)
    what = f"{metric_words(one.metric)} {place_words('sweep', one.level)}"
    change = effect_words(*moved) if moved is not None else _beside(one)
    said = f"{one.candidate} against {one.baseline}: {what} {change}: {one.verdict}" + _because(one.verdict, one.reason)
    return Case(f"{one.candidate}.against.{one.baseline}", what, OUTCOMES.get(one.verdict), one.verdict, said)


def _beside(one: Comparison) -> str:
    """`0.4 % against 0 %`, where there is no ratio."""
    if one.baseline_value is None or one.candidate_value is None:
        return "was not measured"
    return f"{value_words(one.metric, one.candidate_value)} against {value_words(one.metric, one.baseline_value)}"


def _because(word: str, reason: str) -> str:
    return f" ({reason})" if reason not in ("", word) else ""


def _objectives(view: RunView) -> list[Case]:
    """One that has nothing to judge it by does not pass."""
    return [
        Case(
            f"{r.target}.objectives",
            f"{r.slo.text} {place_words(r.series, r.level)}",
            None if r.ok else "failure",
            "kept" if r.ok else "not judged" if r.ok is None else "broken",
            slo_words(r.slo, r.point),
        )
        for r in view.slo_results
    ]


def _loads(view: RunView) -> list[Case]:
    found = []
    for target in targets(view):
        for series, level in levels(view, target):
            legs = [leg for leg in first_legs(view, target) if (leg.series, leg.level) == (series, level)]
            if not legs:
                continue
            word, reasons = validity(legs)
            said = f"{sum(leg.measured for leg in legs):,} requests measured: {word}" + _because(
                "", "; ".join(reasons[:2])
            )
            outcome = "error" if word == Validity.INVALID else None
            lasted = sum(leg.duration_s for leg in legs)
            found.append(Case(f"{target}.validity", place_words(series, level), outcome, word, said, lasted))
    return found


def _document(name: str, found: Sequence[Case], facts: dict[str, str], at: str | None, lasted: float) -> str:
    counts = Counter(case.outcome for case in found)
    sums = {"tests": len(found), "failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    head = {"name": plain(name), **{key: str(value) for key, value in sums.items()}, "time": f"{lasted:.3f}"}
    root = ET.Element("testsuites", head)
    suite = ET.SubElement(root, "testsuite", head if at is None else {**head, "timestamp": at[:19]})
    if facts:
        properties = ET.SubElement(suite, "properties")
        for key, value in facts.items():
            ET.SubElement(properties, "property", {"name": key, "value": plain(value)})
    for case in found:
        what = {"classname": plain(case.group), "name": plain(case.name), "time": f"{case.seconds:.3f}"}
        element = ET.SubElement(suite, "testcase", what)
        if case.outcome is not None:
            ET.SubElement(element, case.outcome, {"type": case.kind, "message": plain(case.said)}).text = plain(
                case.said
            )
        else:
            ET.SubElement(element, "system-out").text = plain(case.said)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _lasted(start: str, end: str | None) -> float:
    if end is None:
        return 0.0
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
