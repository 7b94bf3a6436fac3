"""Latency against concurrency, with the interval over blocks."""

import altair as alt
import polars as pl

from tasks.charts.theme import WIDTH, Drawing, log_scale, wrapped
from tasks.charts.throughput import concurrency_axis
from tasks.charts.words import ms

STATS = ["p50", "p95", "p99"]
RANGE = ["#3b8bc9", "#e69f00", "#d55e00"]


def latency_levels(frame: pl.DataFrame) -> Drawing:
    """`frame`: level, stat (p50, p95, p99), ms, lower, upper, of one target's sweep."""
    base = alt.Chart(frame, width=WIDTH, height=280)
    x = concurrency_axis(frame["level"].to_list())
    ends = [v for column in ("ms", "lower", "upper") for v in frame[column].drop_nulls().to_list()]
    y = alt.Y("ms:Q", title="latency (ms, log)", scale=log_scale(ends))
    shown = [stat for stat in STATS if stat in frame["stat"].to_list()]  # p99 needs more requests than the others
    colours = [RANGE[STATS.index(stat)] for stat in shown]
    colour = alt.Color("stat:N", title=None, sort=STATS, scale=alt.Scale(domain=shown, range=colours))
    tooltip = [
        alt.Tooltip("stat:N", title="quantile"),
        alt.Tooltip("level:Q", title="concurrent"),
        alt.Tooltip("ms:Q", title="ms", format=",.2f"),
        alt.Tooltip("lower:Q", title="from", format=",.2f"),
        alt.Tooltip("upper:Q", title="to", format=",.2f"),
    ]
    return alt.layer(
        base.mark_line().encode(x=x, y=y, color=colour),
        base.mark_rule(strokeWidth=2).encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q", color=colour),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip),
    ).properties(title=wrapped(_title(frame)))


def _title(frame: pl.DataFrame) -> str:
    p95 = frame.filter(pl.col("stat") == "p95").sort("level")
    if p95.height == 0:
        return "Latency against concurrency"
    first, last = p95.row(0, named=True), p95.row(-1, named=True)
    if p95.height == 1:
        return f"p95 latency at {first['level']:,} concurrent is {ms(first['ms'] / 1e3)}"
    ratio = last["ms"] / first["ms"]
    times = f"grows {ratio:.1f} ×" if ratio >= 1.1 else "stays the same"
    levels = f"from {first['level']:,} to {last['level']:,} concurrent"
    return f"p95 latency {times} {levels}: {ms(first['ms'] / 1e3)} to {ms(last['ms'] / 1e3)}"
