"""The book -> numbers over the nights, and the page for the weeks."""

from collections.abc import Sequence
from pathlib import Path

from config.settings import Settings
from storage.disk import write_aside
from storage.records import Drift, Incident
from storage.store import Book
from storage.trend import TrendNight
from storage.watch import Watch
from tasks.report.trend import Line, Way
from tasks.report.weeks import render_weeks
from tasks.stats.changes import finder
from tasks.stats.drift import theil_sen

METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
FAR = "2999-01-01T00:00:00+00:00"
NIGHTS = 60


def lines(
    watch: Watch,
    metrics: Sequence[str],
    *,
    target: str | None = None,
    level: int | None = None,
    nights: int = NIGHTS,
    every: bool = False,
    until: str | None = None,
) -> list[Line]:
    """By target, series, way and metric; invalid nights are left out. `every`: with the workloads and plans of before.
    `until`: started_at of the last night that is wanted."""
    find, dated_by = finder()
    incidents = watch.incidents(closed=True)
    found: list[Line] = []
    for metric in metrics:
        rows = watch.trend(metric, target=target, level=level, most=nights, every=every, until=until)
        for place in dict.fromkeys((row.target, row.series, row.way) for row in rows):
            mine = [r for r in rows if (r.target, r.series, r.way) == place and r.verdict != "invalid"]
            if not mine:
                continue
            segments = list(dict.fromkeys(night.segment_id for night in mine))
            found.append(
                Line(
                    target=place[0],
                    series=place[1],
                    way=place[2],
                    metric=metric,
                    level=level,
                    nights=mine,
                    slope=_slope(mine),
                    drift=_drift(watch, mine, metric, until),
                    changes=find([night.value for night in mine]),
                    dated_by=dated_by,
                    anchors=watch.anchors(segments, metric, level=level, until=until),
                    incidents=[i for i in incidents if i.segment_id in segments and metric in _metrics(i)],
                )
            )
    return sorted(found, key=lambda line: (line.target, line.series, line.way, list(metrics).index(line.metric)))


def _metrics(incident: Incident) -> set[str]:
    return {symptom.metric for symptom in incident.symptoms}


def _slope(nights: Sequence[TrendNight]) -> float | None:
    """Median of all pairs' slopes over the nights of the newest segment, relative to their middle."""
    values = [night.value for night in nights if night.segment_id == nights[-1].segment_id]
    slope = theil_sen([float(k) for k in range(len(values))], values)
    return None if slope is None else slope / sorted(values)[len(values) // 2]


def _drift(watch: Watch, nights: Sequence[TrendNight], metric: str, until: str | None) -> Drift | None:
    found = watch.drifts([nights[-1].segment_id], before=until or FAR, most=1)
    return next((drift for drift in found if drift.metric == metric), None)


def ways(book: Book, found: Sequence[Line]) -> list[Way]:
    """Lines of one target and series that were measured the same way, with everything their segments went through."""
    segments = {segment.segment_id: segment for segment in book.segments()}
    incidents = book.watch.incidents(closed=True)
    made = []
    for place in dict.fromkeys((line.target, line.series, line.way) for line in found):
        mine = [line for line in found if (line.target, line.series, line.way) == place]
        here = [segments[name] for name in dict.fromkeys(n.segment_id for line in mine for n in line.nights)]
        names = {segment.segment_id for segment in here}
        newest = [mine[0].nights[-1].segment_id]
        drifts = book.watch.dated_drifts(newest, until=mine[0].nights[-1].started_at, most=NIGHTS)
        history = book.history(newest, before=FAR)
        made.append(Way(*place, mine, here, [i for i in incidents if i.segment_id in names], drifts, history))
    return made


def write_weeks(path: Path, found: Sequence[Line], settings: Settings) -> Path:
    """The page for the weeks, written aside and renamed."""
    book = Book(settings.book_path, settings.book_wait_s)
    write_aside(path, render_weeks(ways(book, found)))
    return path
