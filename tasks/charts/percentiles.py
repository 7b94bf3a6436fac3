"""Latency by quantile, the tail stretched: where most requests are, and how far the slowest fall behind."""

import altair as alt
import polars as pl

from tasks.charts.measured import at_quantile
from tasks.charts.theme import OPEN_LOOP, WIDTH, Drawing, ends, level_colour, log_scale, named, where_words, wrapped
from tasks.charts.words import ms

TICKS = {
    0.0: "min",
    0.30103: "p50",
    1.0: "p90",
    1.30103: "p95",
    2.0: "p99",
    3.0: "p99.9",
    4.0: "p99.99",
    5.0: "p99.999",
}


def percentiles(grid: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`grid`: rows of `quantile_grid` for one target."""
    frame = named(grid, open_loop)
    ticks = [tick for tick in TICKS if tick <= max(ends(frame["tail"])[1], 1.0) + 0.02]
    labels = " : ".join(f"abs(datum.value - {at}) < 0.001 ? '{name}'" for at, name in TICKS.items()) + " : ''"
    chart: alt.Chart = (
        alt.Chart(
            frame.select("at", "tail", "q", "latency_ms"),
            title=wrapped(_title(grid, open_loop)),
            width=WIDTH,
            height=300,
        )
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("tail:Q", title="share of requests at or below, tail stretched")
            .scale(domain=[0, max(ends(frame["tail"])[1], 1.0)], nice=False)
            .axis(values=ticks, labelExpr=labels),
            y=alt.Y("latency_ms:Q", title="latency (ms, log)", scale=log_scale(frame["latency_ms"].to_list())),
            color=level_colour(frame, open_loop),
            tooltip=[
                alt.Tooltip("at:N", title="concurrent"),
                alt.Tooltip("q:Q", title="share of requests", format=".3%"),
                alt.Tooltip("latency_ms:Q", title="latency (ms)", format=",.2f"),
            ],
        )
    )
    return chart


def _title(grid: pl.DataFrame, open_loop: str) -> str:
    longest: tuple[float, int, float, float] | None = None
    for part in grid.partition_by("level"):
        p50, p99 = at_quantile(part, 0.5), at_quantile(part, 0.99)
        if p50 is not None and p99 is not None and p50 > 0:
            found = (p99 / p50, int(part["level"][0]), p50, p99)
            longest = found if longest is None or found > longest else longest
    if longest is None:
        return "Latency by quantile: too few requests to speak of a tail"
    ratio, level, p50, p99 = longest
    where = where_words(level, open_loop)
    return f"The longest tail is {where}: p99 {ms(p99 / 1e3)}, {ratio:.1f} × the median of {ms(p50 / 1e3)}"
