"""Numbers over the nights as lines, and their figures."""

from dataclasses import dataclass, field

import polars as pl

from storage.incidents import DriftNight
from storage.records import ChangePoint, Drift, Incident
from storage.segments import Segment
from storage.trend import Anchor, TrendNight
from tasks.charts.trend import ANCHORS, BANDS, MARKS, Beside, trend
from tasks.charts.words import RATES, place_words, signed
from tasks.report.pictures import Figure, figure

NOTE = (
    "A point a night with its 95 % interval, filled if it is in the baseline. Grey: the baseline, lowest to highest "
    "night, and its mean. Orange: a night on which the number changed, found by looking back. Red: an incident."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one target and series, measured one way. `slope`: ratio − 1 a night within the newest segment.
    `incidents`: those of its segments that name its metric."""

    target: str
    series: str
    metric: str
    level: int | None
    nights: list[TrendNight]
    slope: float | None
    drift: Drift | None
    changes: list[ChangePoint]
    dated_by: str
    way: int = 1  # as `TrendNight.way`
    anchors: list[Anchor] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Way:
    """What was measured the same way: one target and series, one workload and plan. `drifts`: where the nights of the
    newest segment left it, oldest first."""

    target: str
    series: str
    way: int
    lines: list[Line]
    segments: list[Segment]
    incidents: list[Incident]
    drifts: list[DriftNight]
    history: pl.DataFrame | None = None  # the gate's rows of the newest segment's baseline


def line_frame(line: Line) -> pl.DataFrame:
    """night, value, lower, upper (ms, a second, per cent), verdict, baseline; oldest first."""
    k = scale(line.metric)
    rows = [
        (n.started_at, *(None if v is None else v * k for v in (n.value, n.lower, n.upper)), n.verdict, n.in_baseline)
        for n in line.nights
    ]
    number = dict.fromkeys(("value", "lower", "upper"), pl.Float64)
    schema = {"night": pl.String, **number, "verdict": pl.String, "baseline": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def line_beside(line: Line) -> Beside:
    """What stands behind the nights, within the time that they span."""
    first, last = line.nights[0].started_at, line.nights[-1].started_at
    spans: dict[str, tuple[str, str]] = {}
    for night in line.nights:
        spans[night.segment_id] = (spans.get(night.segment_id, (night.started_at, ""))[0], night.started_at)
    k = scale(line.metric)
    anchors = [
        (*spans[a.segment_id], a.nights, a.centre * k, a.low * k, a.high * k)
        for a in line.anchors
        if a.segment_id in spans
    ]
    seen = {night.run_id: night.started_at for night in line.nights}
    incidents = [
        (max(i.since, first), last if i.closed_at is None else seen.get(i.regressed_run, first), _named(i))
        for i in line.incidents
        if i.since <= last and (i.closed_at is None or i.regressed_run in seen)
    ]
    changes = [
        (line.nights[c.index].started_at, f"{signed(c.effect)} %") for c in line.changes if c.index < len(line.nights)
    ]
    began = [(start, "new baseline") for start, _ in spans.values()][1:]
    return Beside(
        pl.DataFrame(sorted(anchors), schema=ANCHORS, orient="row"),
        pl.DataFrame(incidents, schema=BANDS, orient="row"),
        pl.DataFrame(changes, schema=MARKS, orient="row"),
        pl.DataFrame(began, schema=MARKS, orient="row"),
    )


def _named(incident: Incident) -> str:
    return f"incident {incident.incident_id}" + ("" if incident.closed_at is None else f" ({incident.status})")


def line_figure(line: Line, name: str, note: str) -> Figure:
    frame = line_frame(line)
    chart = trend(frame, line.metric, place_words(line.series, line.level), line_beside(line))
    return figure(name, note, chart, frame)


def scale(metric: str) -> float:
    """From the book's unit to a chart's: seconds to ms, a share to per cent, a rate as it is."""
    return 1.0 if metric in RATES else 100.0 if metric == "errors" else 1e3
