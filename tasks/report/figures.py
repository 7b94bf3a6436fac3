"""Which figures a run has, in the order they are read, each with its finding, a note and the table behind it."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from storage.records import Series, Verdict
from tasks.charts.arrivals import arrivals
from tasks.charts.beside import beside
from tasks.charts.failures import failures
from tasks.charts.heat import heat_map
from tasks.charts.history import against_history
from tasks.charts.lag import lag
from tasks.charts.latency_levels import STATS, latency_levels
from tasks.charts.measured import heat, histogram, over_time, quantile_grid
from tasks.charts.measured import open_loop as open_loop_frame
from tasks.charts.over_time import over_time_chart
from tasks.charts.percentiles import percentiles
from tasks.charts.rates_tried import frame_of, rates_tried
from tasks.charts.ridges import ridges
from tasks.charts.side_by_side import side_by_side
from tasks.charts.streams import streams
from tasks.charts.theme import OPEN_LOOP
from tasks.charts.throughput import throughput
from tasks.charts.tradeoff import tradeoff
from tasks.report import frames
from tasks.report.drifts import drift_figures
from tasks.report.pictures import Figure, figure
from tasks.report.side_by_side import OVERHEAD, pair_frame, pair_tables
from tasks.report.trend import NOTE, line_figure
from tasks.report.view import RunView, changed, targets

ROWS = (quantile_grid, histogram, over_time, heat, open_loop_frame)  # each: a run's rows -> one small frame


def figures(view: RunView, samples: pl.LazyFrame | None) -> list[Figure]:
    """All figures that the run has numbers for. Without samples those that need the rows are left out."""
    read = [] if samples is None else [of(samples) for of in ROWS]
    found = pair_figures(view) + together_figure(view)
    several = len(targets(view)) > 1
    for index, target in enumerate(targets(view)):
        mine = [*nights_figure(view, target, index), *drift_figures(view, target, index)]
        mine += _history(view, target, index)
        mine += throughput_figure(view, target, index) + tradeoff_figure(view, target, index)
        mine += rates_figure(view, target, index)
        mine += latency_figure(view, target, index) + _streams(view, target, index)
        if read:
            mine += _from_rows(_of(read, target), index, open_loop(view))
        mine += _failures(view, target, index)
        found += [replace(f, title=f"{target}: {f.title}") for f in mine] if several else mine
    return found + lag_figure(view)


def open_loop(view: RunView) -> str:
    """What the run's open loop is called: replay, or load."""
    return next((leg.series for leg in view.legs if leg.series in (Series.REPLAY, Series.LOAD)), OPEN_LOOP)


def together_figure(view: RunView) -> list[Figure]:
    """All targets of the run at the same loads, where there are several."""
    frame = frames.together(view)
    if frame.is_empty():
        return []
    note = "Bars are 95 % intervals over the blocks. Targets are judged each by itself, against its own nights."
    if view.comparisons:
        note = "Bars are 95 % intervals of each target by itself; the differences above are paired, and narrower."
    return [figure("together", note, beside(frame, open_loop(view)), frame)]


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
        found.append(figure(f"pair-{index}", note, chart, frame))
    return found


def throughput_figure(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.rates(view, target)
    if frame.filter(pl.col("metric") == "throughput").is_empty():
        return []
    ceiling = next((c for c in view.ceilings if c.target == target), None)
    note = (
        "A level's throughput is its concurrency over the mean time between a user's answers (Little's law): ramp and "
        "drain are left out; bars are 95 % intervals over the blocks."
    )
    sustained = next((one for one in view.sustained if one.target == target), None)
    note += " A ring marks the knee, a band the interval of the ceiling."
    return [figure(f"throughput-{index}", note, throughput(frame, ceiling, sustained), frame)]


def tradeoff_figure(view: RunView, target: str, index: int) -> list[Figure]:
    """Latency against throughput, of the statistic that an objective of the plan names, else p95, or what there is."""
    slos = [
        r.slo for r in view.slo_results if r.target == target and r.slo.quantity == "latency" and r.slo.stat in STATS
    ]
    held = [slo for one in view.sustained if one.target == target for slo in one.objectives]
    slos += [slo for slo in held if slo.quantity == "latency" and slo.stat in STATS]
    asked = [*(slo.stat for slo in slos), "p95", "p50"]  # of few requests a block has no p95
    drawn = [(stat, frame) for stat in asked if (frame := frames.traded(view, target, stat)).height > 1]
    if not drawn:
        return []
    stat, frame = drawn[0]
    ceiling = next((c for c in view.ceilings if c.target == target), None)
    mine = list({slo.text: slo for slo in slos if slo.stat == stat}.values())
    note = "Each point is a level, named by its concurrency; a ring marks the knee. Up is slower, right is more."
    return [figure(f"tradeoff-{index}", note, tradeoff(frame, stat, ceiling, mine), frame)]


def rates_figure(view: RunView, target: str, index: int) -> list[Figure]:
    """The rates that a search for the ceiling tried."""
    found = next((one for one in view.sustained if one.target == target), None)
    frame = None if found is None else frame_of(found)
    if found is None or frame is None or frame.is_empty():
        return []
    note = (
        "Each point is a rate that was offered, however fast the answers came. Kept up: what was due was finished, no "
        "backlog grew, and the objectives held. The band is the 95 % interval, up to the lowest rate that was too much."
    )
    return [figure(f"rates-{index}", note, rates_tried(frame, found), frame)]


def latency_figure(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.latencies(view, target)
    if frame.is_empty():
        return []
    note = "Bars are 95 % intervals over the blocks; timed-out requests count at their age."
    return [figure(f"latency-{index}", note, latency_levels(frame), frame)]


def lag_figure(view: RunView) -> list[Figure]:
    frame = frames.lags(view)
    limits = view.run.plan.get("health") or {}
    if frame.is_empty():
        return []
    chart = lag(frame, limits.get("suspect_lag_p99_ms"), limits.get("invalid_lag_p99_ms"), open_loop(view))
    note = "How late requests were sent after the instant they were due: gatebench's own error, not the target's."
    return [figure("lag", note, chart, frame)]


def main_verdict(view: RunView, target: str) -> Verdict | None:
    """The judged number that is worth a picture of its own: what moved most, else p95 latency at the top level."""
    mine = [v for v in view.verdicts if v.target == target and v.level is not None and v.effect is not None]
    moved = [v for v in changed(view) if v in mine]
    p95 = [v for v in mine if v.metric == "latency_p95"]
    return next(iter(moved), max(p95, key=lambda v: v.level or 0, default=None))


def nights_figure(view: RunView, target: str, index: int) -> list[Figure]:
    """The number that matters most, over the nights; nothing before the second."""
    verdict = main_verdict(view, target)
    if verdict is None:
        return []
    where = (target, verdict.series, verdict.metric, verdict.level)
    lines = [line for line in view.trends if (line.target, line.series, line.metric, line.level) == where]
    return [line_figure(line, f"nights-{index}", NOTE) for line in lines[:1] if len(line.nights) > 1]


def _history(view: RunView, target: str, index: int) -> list[Figure]:
    relative = frames.relative(view, target)
    if relative.is_empty():
        return []
    note = (
        "A grey tick is a past night, the dot is tonight, right is more: "
        "latency to the right is worse, throughput to the left."
    )
    return [figure(f"history-{index}", note, against_history(relative), relative)]


def _streams(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.streamed(view, target)
    if frame.is_empty():
        return []
    note = (
        "TTFT: time to the first token. TPOT: time per output token after the first. ITL: gap between chunks. "
        "Bars are 95 % intervals over the blocks."
    )
    return [figure(f"streams-{index}", note, streams(frame, open_loop(view)), frame)]


def _of(read: Sequence[pl.DataFrame], target: str) -> list[pl.DataFrame]:
    return [frame.filter(pl.col("target") == target).drop("target") for frame in read]


def _from_rows(read: Sequence[pl.DataFrame], index: int, name: str) -> list[Figure]:
    """`read`: what ROWS made of one target's rows; `name`: what its open loop is called."""
    grid, hist, time, cells, flow = read
    found = []
    if not grid.is_empty():
        note = (
            "Each line is one level over all its measured requests. Timed-out requests stand at their age; "
            "the open loop counts from when a request was due."
        )
        found.append(figure(f"percentiles-{index}", note, percentiles(grid, name), grid))
    if not hist.is_empty():
        note = "Share of requests in each sliver of latency; each level on its own height."
        found.append(figure(f"ridges-{index}", note, ridges(hist, grid, name), hist))
    if not time.is_empty():
        note = "Each block in four parts, in the order of the blocks. Other levels ran between the blocks."
        found.append(figure(f"time-{index}", note, over_time_chart(time), time))
    for closed, of in ((True, "heat"), (False, "heat-open")):
        mine = cells.filter((pl.col("level") > 0) == closed)
        if not mine.is_empty():
            note = "Darker: more of the requests that were sent in that stretch of time took so long."
            found.append(figure(f"{of}-{index}", note, heat_map(mine, name), mine))
    if not flow.is_empty():
        note = "Grey is what was due, blue what was sent; below, how many were under way."
        found.append(figure(f"replay-{index}", note, arrivals(flow, name), flow))
    return found


def _failures(view: RunView, target: str, index: int) -> list[Figure]:
    frame = frames.failed(view, target)
    if frame.is_empty():
        return []
    return [
        figure(
            f"failures-{index}",
            "A failed request is counted once, by what ended it.",
            failures(frame, open_loop(view)),
            frame,
        )
    ]
