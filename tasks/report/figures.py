"""Which figures a run has, in the order they are read, each with its finding, a note and the table behind it."""

from dataclasses import dataclass, replace

import polars as pl

from storage.records import Verdict
from tasks.charts.arrivals import arrivals
from tasks.charts.failures import failures
from tasks.charts.history import against_history, nights
from tasks.charts.lag import lag
from tasks.charts.latency_levels import latency_levels
from tasks.charts.measured import histogram, open_loop, over_time, quantile_grid
from tasks.charts.over_time import over_time_chart
from tasks.charts.percentiles import percentiles
from tasks.charts.ridges import ridges
from tasks.charts.side_by_side import side_by_side
from tasks.charts.theme import Drawing, finding
from tasks.charts.throughput import throughput
from tasks.charts.words import place_words
from tasks.report import frames
from tasks.report.side_by_side import OVERHEAD, pair_frame, pair_tables
from tasks.report.view import RunView, changed, targets


@dataclass(frozen=True)
class Figure:
    """`name` is unique on a page; `note` says how to read it; `table`: the numbers that are drawn."""

    name: str
    title: str
    note: str
    chart: Drawing
    table: pl.DataFrame


def figures(view: RunView, samples: pl.LazyFrame | None) -> list[Figure]:
    """All figures that the run has numbers for. Without samples those that need the rows are left out."""
    grid = hist = time = flow = None
    if samples is not None:
        grid, hist, time, flow = quantile_grid(samples), histogram(samples), over_time(samples), open_loop(samples)
    found = pair_figures(view)
    several = len(targets(view)) > 1
    for index, target in enumerate(targets(view)):
        mine = [*_history(view, target, index), *throughput_figure(view, target, index)]
        mine += latency_figure(view, target, index)
        if grid is not None and hist is not None and time is not None and flow is not None:
            rows = [frame.filter(pl.col("target") == target).drop("target") for frame in (grid, hist, time, flow)]
            mine += _from_rows(rows[0], rows[1], rows[2], rows[3], index)
        mine += _failures(view, target, index)
        found += [replace(f, title=f"{target}: {f.title}") for f in mine] if several else mine
    return found + lag_figure(view)


def pair_figures(view: RunView) -> list[Figure]:
    """One a pair of targets that were measured side by side."""
    found = []
    least = (view.run.plan.get("judge") or {}).get("min_effect")
    for index, table in enumerate(pair_tables(view)):
        frame = pair_frame(view, (table.baseline, table.candidate, table.kind))
        if frame.is_empty():
            continue
        overhead = table.kind == OVERHEAD
        note = (
            "Paired by block: bars are 95 % intervals. Right is more: of latency that is worse, of throughput better."
        )
        note += "" if overhead else " Dashed: what counts as a difference."
        chart = side_by_side(frame, table.baseline, table.candidate, None if overhead else least)
        found.append(_figure(f"pair-{index}", note, chart, frame))
    return found


def throughput_figure(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.rates(view, target)
    if frame.filter(pl.col("metric") == "throughput").is_empty():
        return []
    ceiling = next((c for c in view.ceilings if c.target == target), None)
    note = (
        "A level's throughput is its concurrency over its mean latency (Little's law): ramp and drain are left out; "
        "bars are 95 % intervals over the blocks."
    )
    return [_figure(f"throughput-{index}", note, throughput(frame, ceiling), frame)]


def latency_figure(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.latencies(view, target)
    if frame.is_empty():
        return []
    note = "Bars are 95 % intervals over the blocks; timed-out requests count at their age."
    return [_figure(f"latency-{index}", note, latency_levels(frame), frame)]


def lag_figure(view: RunView) -> list[Figure]:
    frame = frames.lags(view)
    limits = view.run.plan.get("health") or {}
    if frame.is_empty():
        return []
    chart = lag(frame, limits.get("suspect_lag_p99_ms"), limits.get("invalid_lag_p99_ms"))
    note = "How late requests were sent after the instant they were due: gatebench's own error, not the target's."
    return [_figure("lag", note, chart, frame)]


def main_verdict(view: RunView, target: str) -> Verdict | None:
    """The judged number that is worth a picture of its own: what moved most, else p95 latency at the top level."""
    mine = [v for v in view.verdicts if v.target == target and v.level is not None and v.effect is not None]
    moved = [v for v in changed(view) if v in mine]
    p95 = [v for v in mine if v.metric == "latency_p95"]
    return next(iter(moved), max(p95, key=lambda v: v.level or 0, default=None))


def _history(view: RunView, target: str, index: int) -> list[Figure]:
    found = []
    verdict = main_verdict(view, target)
    if verdict is not None and verdict.metric != "errors":
        frame = frames.by_night(view, verdict)
        if frame.height > 1:
            where = place_words(verdict.series, verdict.level)
            note = "One point a night, the nights that tonight was judged against, in their order."
            found.append(_figure(f"nights-{index}", note, nights(frame, verdict.metric, where, verdict.verdict), frame))
    relative = frames.relative(view, target)
    if not relative.is_empty():
        note = (
            "A grey tick is a past night, the dot is tonight, right is more: "
            "latency to the right is worse, throughput to the left."
        )
        found.append(_figure(f"history-{index}", note, against_history(relative), relative))
    return found


def _from_rows(
    grid: pl.DataFrame, hist: pl.DataFrame, time: pl.DataFrame, flow: pl.DataFrame, index: int
) -> list[Figure]:
    found = []
    if not grid.is_empty():
        note = (
            "Each line is one level over all its measured requests. Timed-out requests stand at their age; "
            "the replay counts from when a request was due."
        )
        found.append(_figure(f"percentiles-{index}", note, percentiles(grid), grid))
    if not hist.is_empty():
        note = "Share of requests in each sliver of latency; each level on its own height."
        found.append(_figure(f"ridges-{index}", note, ridges(hist, grid), hist))
    if not time.is_empty():
        note = "Each block in four parts, in the order of the blocks. Other levels ran between the blocks."
        found.append(_figure(f"time-{index}", note, over_time_chart(time), time))
    if not flow.is_empty():
        note = "Grey is what the recorded timing asked for, blue what was sent."
        found.append(_figure(f"replay-{index}", note, arrivals(flow), flow))
    return found


def _failures(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.failed(view, target)
    if frame.is_empty():
        return []
    return [_figure(f"failures-{index}", "A failed request is counted once, by what ended it.", failures(frame), frame)]


def _figure(name: str, note: str, chart: Drawing, table: pl.DataFrame) -> Figure:
    return Figure(name, finding(chart), note, chart, table)
