"""The page for the weeks: the numbers over the nights, every segment with its baseline, what drifts, every incident."""

from collections.abc import Sequence
from typing import Any

from storage.records import Incident
from tasks.charts.words import (
    NONE,
    as_moved,
    count,
    dates,
    listed,
    metric_words,
    number,
    place_words,
    signed,
    value_words,
)
from tasks.report.drifts import drift_figure
from tasks.report.pictures import Figure, environment, shown
from tasks.report.trend import NOTE, Line, Way, line_figure

OPEN = ("open", "acknowledged")


def render_weeks(ways: Sequence[Way]) -> str:
    """`ways`: of one target and series each, with one line or more."""
    figures = {place: way_figures(way, place) for place, way in enumerate(ways)}
    return (
        environment()
        .get_template("weeks.html.j2")
        .render(
            headline=headline(ways),
            tone=tone(ways),
            facts=_facts(ways),
            targets=list(dict.fromkeys(way.target for way in ways)),
            span=_span([way.lines[0] for way in ways]),
            ways=[{**way_rows(way), "figures": [f.name for f in figures[place]]} for place, way in enumerate(ways)],
            note=NOTE,
            incidents=[incident_row(one) for one in _incidents(ways)],
            **shown([figure for found in figures.values() for figure in found]),
        )
    )


def headline(ways: Sequence[Way]) -> str:
    """What is open, else what drifts, else that all is quiet."""
    is_open = [i for i in _incidents(ways) if i.status in OPEN]
    nights = count(len({n.run_id for way in ways for n in way.lines[0].nights}), "night")
    if is_open:
        said = [f"{symptoms(i)[0]} since {i.since[:10]}" for i in is_open]
        are = "incident is" if len(is_open) == 1 else "incidents are"
        return f"{len(is_open)} {are} open: {listed(said)}."
    drifting = [f"{line.target} {metric_words(line.metric)}" for line in _drifting(ways)]
    if drifting:
        return f"No incident is open; {listed(drifting)} drift{'s' if len(drifting) == 1 else ''}."
    return f"Quiet: no incident is open and nothing drifts, {nights}."


def tone(ways: Sequence[Way]) -> str:
    if any(i.status in OPEN for i in _incidents(ways)):
        return "bad"
    return "warn" if _drifting(ways) else "good"


def way_figures(way: Way, place: int) -> list[Figure]:
    """One a metric, in their order, and what has come furthest in small steps."""
    found = [line_figure(line, f"way-{place}-{line.metric}", "") for line in way.lines if len(line.nights) > 1]
    last = {night.drift.metric: night.drift.c for night in way.drifts}
    if last:
        most = max(last, key=lambda metric: last[metric])
        mine = [night for night in way.drifts if night.drift.metric == most]
        found.append(drift_figure(mine, way.history, f"way-{place}-drift"))
    return found


def way_rows(way: Way) -> dict[str, Any]:
    """For the template: the title, a row a metric, a row a segment."""
    first = way.lines[0]
    older = "" if way.way == 1 else ", with an earlier workload or plan"
    where = place_words(way.series, first.level)
    return {
        "title": f"{way.target} {way.series}, {where}{older}: {count(len(first.nights), 'night')}, {_span([first])}",
        "metrics": [_metric_row(line) for line in way.lines],
        "segments": [_segment_row(way, place) for place in range(len(way.segments))],
        "dated_by": first.dated_by if any(line.changes for line in way.lines) else "",
    }


def incident_row(one: Incident) -> dict[str, Any]:
    return {
        "id": one.incident_id,
        "status": one.status,
        "what": symptoms(one),
        "since": one.since[:10],
        "against": one.against,
        "seen": one.regressed_run,
        "over": "" if one.closed_at is None else one.closed_at[:10],
        "show": f"gatebench incidents show {one.incident_id}",
    }


def symptoms(one: Incident) -> list[str]:
    """`gw p95 latency over all levels +20 %`, one a metric."""
    return [
        f"{one.target} {metric_words(s.metric)} {place_words(one.series, s.level)}"
        + ("" if s.effect is None else f" {signed(as_moved(s.metric, s.effect))} %")
        for s in one.symptoms
    ]


def _metric_row(line: Line) -> dict[str, str]:
    last = line.nights[-1]
    anchor = next((a for a in line.anchors if a.segment_id == last.segment_id), None)
    changes = [f"{line.nights[c.index].started_at[:10]} {signed(c.effect)} %" for c in line.changes]
    return {
        "what": metric_words(line.metric),
        "now": value_words(line.metric, last.value),
        "baseline": NONE if anchor is None else value_words(line.metric, anchor.centre),
        "moved": NONE if anchor is None else f"{signed(last.value / anchor.centre - 1)} %",
        "slope": NONE if line.slope is None else f"{signed(line.slope, 2)} %",
        "drift": NONE if line.drift is None else number(line.drift.c),
        "alarm": "alarm" if line.drift is not None and line.drift.alarm else "",
        "changes": "; ".join(changes),
    }


def _segment_row(way: Way, place: int) -> dict[str, str]:
    """How a segment began, and the baseline that its nights are held against."""
    segment = way.segments[place]
    nights = [n for n in way.lines[0].nights if n.segment_id == segment.segment_id]
    held = [
        f"{metric_words(line.metric)} {value_words(line.metric, a.centre)}"
        for line in way.lines
        for a in line.anchors
        if a.segment_id == segment.segment_id
    ]
    size = max((a.nights for line in way.lines for a in line.anchors if a.segment_id == segment.segment_id), default=0)
    return {
        "id": segment.segment_id,
        "span": dates(nights[0].started_at, nights[-1].started_at) if nights else "",
        "nights": f"{len(nights):,}",
        "why": segment.why,
        "machine": segment.fingerprint[:8],
        "baseline": f"{count(size, 'night')}: {', '.join(held)}" if held else "none yet",
    }


def _incidents(ways: Sequence[Way]) -> list[Incident]:
    """Open ones first, then the newest."""
    found = {i.incident_id: i for way in ways for i in way.incidents}
    return sorted(found.values(), key=lambda i: (i.status not in OPEN, -int(i.incident_id)))


def _drifting(ways: Sequence[Way]) -> list[Line]:
    return [line for way in ways for line in way.lines if line.drift is not None and line.drift.alarm]


def _facts(ways: Sequence[Way]) -> list[tuple[str, str]]:
    last = max((way.lines[0].nights[-1] for way in ways), key=lambda night: night.started_at)
    found = _incidents(ways)
    is_open = sum(i.status in OPEN for i in found)
    facts = [("last night", f"{last.started_at[:10]}, {last.verdict or 'not judged'}, run {last.run_id}")]
    facts.append(("incidents", f"{is_open} open, {len(found) - is_open} over"))
    facts.append(("segments", str(len({s.segment_id for way in ways for s in way.segments}))))
    drifting = _drifting(ways)
    facts.append(("drift", listed(f"{w.target} {metric_words(w.metric)}" for w in drifting) if drifting else "none"))
    return facts


def _span(lines: Sequence[Line]) -> str:
    return dates(min(line.nights[0].started_at for line in lines), max(line.nights[-1].started_at for line in lines))
