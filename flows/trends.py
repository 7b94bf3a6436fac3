"""Numbers night by night -> lines for a terminal and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from storage.errors import UsageError
from storage.records import Drift, to_json
from storage.trend import TrendNight
from storage.watch import Watch
from tasks.charts.words import count, metric_words, place_words, signed, value_words
from tasks.stats.changes import ChangePoint, finder
from tasks.stats.drift import DriftRules, theil_sen

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40  # nights drawn
FAR = "2999-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one target and series. `slope`: ratio − 1 a night within the newest segment."""

    target: str
    series: str
    metric: str
    level: int | None
    nights: list[TrendNight]
    slope: float | None
    drift: Drift | None
    changes: list[ChangePoint]
    dated_by: str


def lines(watch: Watch, metrics: Sequence[str], *, target: str | None, level: int | None, nights: int) -> list[Line]:
    """Invalid nights are left out. Raises UsageError where there is nothing to show."""
    find, dated_by = finder()
    found: list[Line] = []
    for metric in metrics:
        rows = watch.trend(metric, target=target, level=level, most=nights)
        for place in dict.fromkeys((row.target, row.series) for row in rows):
            mine = [row for row in rows if (row.target, row.series) == place and row.verdict != "invalid"]
            if mine:
                changes = find([row.value for row in mine])
                found.append(
                    Line(*place, metric, level, mine, _slope(mine), _drift(watch, mine, metric), changes, dated_by)
                )
    if not found:
        raise UsageError(_nothing(watch, metrics, target, level))
    return sorted(found, key=lambda line: (line.target, line.series, list(metrics).index(line.metric)))


def _nothing(watch: Watch, metrics: Sequence[str], target: str | None, level: int | None) -> str:
    known = sorted({row.target for row in watch.trend("latency_p50", target=None, level=None, most=1)})
    if not known:
        return "no night was judged yet, so there is no trend; `gatebench nightly` makes the first"
    if target is not None and target not in known:
        return f"no night of target {target!r}; there are {', '.join(known)}"
    at = "" if level is None else f" at level {level}"
    return f"no night has {', '.join(metrics)}{at}; metrics are as latency_p95, ttft_p95, throughput"


def _slope(nights: Sequence[TrendNight]) -> float | None:
    """Median of all pairs' slopes over the nights of the newest segment, relative to their middle."""
    values = [night.value for night in nights if night.segment_id == nights[-1].segment_id]
    slope = theil_sen([float(k) for k in range(len(values))], values)
    return None if slope is None else slope / sorted(values)[len(values) // 2]


def _drift(watch: Watch, nights: Sequence[TrendNight], metric: str) -> Drift | None:
    found = watch.drifts([nights[-1].segment_id], before=FAR, most=1)
    return next((drift for drift in found if drift.metric == metric), None)


def as_json(found: Sequence[Line]) -> dict[str, Any]:
    """`gatebench.trend/1`: values in seconds and requests a second, slopes and effects as ratio − 1."""
    return {
        "schema": "gatebench.trend/1",
        "dated_by": found[0].dated_by,
        "trends": [
            {
                "target": line.target,
                "series": line.series,
                "metric": line.metric,
                "level": line.level,
                "slope_per_night": line.slope,
                "drift": None if line.drift is None else to_json(line.drift),
                "changes": [
                    {"run_id": line.nights[c.index].run_id, "started_at": line.nights[c.index].started_at,
                     "before": c.before, "after": c.after, "effect": c.effect}
                    for c in line.changes
                ],
                "nights": [to_json(night) for night in line.nights],
            }
            for line in found
        ],
    }  # fmt: skip


def render(found: Sequence[Line], console: Console) -> None:
    for place in dict.fromkeys((line.target, line.series) for line in found):
        mine = [line for line in found if (line.target, line.series) == place]
        shown = mine[0].nights
        span = f"{shown[0].started_at[:10]} to {shown[-1].started_at[:10]}"
        where = place_words(place[1], mine[0].level)
        console.print(f"[bold]{place[0]}[/] {place[1]}, {where}: {count(len(shown), 'night')}, {span}")
        table = Table(box=None, pad_edge=False)
        for name in ("", "nights", "now", "a night", "drift"):
            table.add_column(name, no_wrap=True, justify="left" if name in ("", "nights") else "right")
        for line in mine:
            slope = "–" if line.slope is None else f"{signed(line.slope, 1)} %"
            picture = sparkline(line.nights[-WIDEST:], plain="utf" not in console.encoding.lower())
            now = value_words(line.metric, line.nights[-1].value)
            table.add_row(metric_words(line.metric), picture, now, slope, _drift_words(line.drift))
        console.print(table)
        for line in mine:
            if line.changes:
                console.print(f"{metric_words(line.metric)} changed: {_changed(line)}")
        console.print()
    if any(line.changes for line in found):
        console.print(f"changes dated by {found[0].dated_by}", style="dim", markup=False)
    legend = "drift: sum of small moves, alarm above 8; │: another machine or an accepted change"
    console.print(legend, style="dim")


def sparkline(nights: Sequence[TrendNight], *, plain: bool = False) -> str:
    """A bar a night between the lowest and the highest; `plain`: digits, for terminals without such characters."""
    values = [night.value for night in nights]
    low, high = min(values), max(values)
    bars, edge = ("12345678", "|") if plain else (BARS, "│")
    drawn = ""
    for k, night in enumerate(nights):
        if k and night.segment_id != nights[k - 1].segment_id:
            drawn += edge
        part = 0.5 if high <= low else (night.value - low) / (high - low)
        drawn += bars[min(7, int(part * 8))]
    return drawn


def _drift_words(drift: Drift | None) -> str:
    if drift is None:
        return "–"
    said = f"{drift.c:.1f}"
    return f"[bold red]{said}[/]" if drift.c > DriftRules().limit else said


def _changed(line: Line) -> str:
    return ", ".join(f"{line.nights[c.index].started_at[:10]} {signed(c.effect)} %" for c in line.changes)
