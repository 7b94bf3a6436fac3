"""Numbers night by night -> lines for a terminal and JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from storage.errors import UsageError
from storage.records import Drift, to_json
from storage.trend import TrendNight
from storage.watch import Watch
from tasks.charts.words import count, dates, metric_words, place_words, signed, value_words
from tasks.report.trend import Line
from tasks.stats.drift import DriftRules
from tasks.trend import lines

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40  # nights drawn


def found_lines(
    watch: Watch, metrics: Sequence[str], *, target: str | None, level: int | None, nights: int, every: bool = False
) -> list[Line]:
    """Raises UsageError where there is nothing to show."""
    found = lines(watch, metrics, target=target, level=level, nights=nights, every=every)
    if not found:
        raise UsageError(_nothing(watch, metrics, target, level))
    return found


def _nothing(watch: Watch, metrics: Sequence[str], target: str | None, level: int | None) -> str:
    known = sorted({row.target for row in watch.trend("latency_p50", target=None, level=None, most=1)})
    if not known:
        return "no night was judged yet, so there is no trend; `gatebench nightly` makes the first"
    if target is not None and target not in known:
        return f"no night of target {target!r}; there are {', '.join(known)}"
    at = "" if level is None else f" at level {level}"
    return f"no night has {', '.join(metrics)}{at}; metrics are as latency_p95, ttft_p95, throughput"


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
        span = dates(shown[0].started_at, shown[-1].started_at)
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
