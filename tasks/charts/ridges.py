"""The shape of latency at each level, one ridge a level on one axis: a second hump is a second population."""

import altair as alt
import polars as pl

from tasks.charts.measured import at_quantile
from tasks.charts.theme import (
    OPEN_LOOP,
    WIDTH,
    Drawing,
    level_colour,
    level_panels,
    log_scale,
    named,
    where_words,
    wrapped,
)
from tasks.charts.words import ms


def ridges(bins: pl.DataFrame, grid: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`bins`: rows of `histogram`, `grid`: rows of `quantile_grid`, both of one target."""
    marks = [
        {"level": int(part["level"][0]), "p50_ms": at_quantile(part, 0.5), "p95_ms": at_quantile(part, 0.95)}
        for part in grid.partition_by("level")
    ]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "level": bins.schema["level"],
        "p50_ms": pl.Float64,
        "p95_ms": pl.Float64,
    }
    frame = named(bins.join(pl.DataFrame(marks, schema=schema), on="level", how="left"), open_loop)
    x = alt.X("low_ms:Q", title="latency (ms, log); the lines mark p50 and p95")
    scale = log_scale([*frame["low_ms"].to_list(), *frame["high_ms"].to_list()], wide=0.02)
    base = alt.Chart(width=WIDTH - 70, height=54)
    bars = base.mark_rect(opacity=0.75).encode(
        x=x.scale(scale),
        x2="high_ms:Q",
        y=alt.Y("share:Q", title=None, axis=None),
        y2=alt.value(54),
        color=level_colour(frame, open_loop).legend(None),
        tooltip=[
            alt.Tooltip("at:N", title="concurrent"),
            alt.Tooltip("low_ms:Q", title="from (ms)", format=",.2f"),
            alt.Tooltip("high_ms:Q", title="to (ms)", format=",.2f"),
            alt.Tooltip("share:Q", title="share of requests", format=".1%"),
        ],
    )
    ticks = [
        base.mark_rule(strokeWidth=1.5, strokeDash=dash, color="#666666").encode(x=alt.X(f"{name}:Q", aggregate="min"))
        for name, dash in (("p50_ms", [1, 0]), ("p95_ms", [4, 3]))
    ]
    chart: alt.FacetChart = (
        alt.layer(bars, *ticks, data=frame.drop("level", "requests"))
        .facet(row=level_panels(frame, open_loop), spacing=4)
        .resolve_scale(y="independent")
        .properties(title=wrapped(_title(grid, open_loop)))
    )
    return chart


def _title(grid: pl.DataFrame, open_loop: str) -> str:
    said = []
    sweep = grid.filter(pl.col("level") > 0)
    chosen = sweep if sweep.height else grid
    for level in sorted(chosen["level"].unique())[:: max(chosen["level"].n_unique() - 1, 1)]:
        part = chosen.filter(pl.col("level") == level)
        low, high = at_quantile(part, 0.05), at_quantile(part, 0.95)
        if low is not None and high is not None:
            said.append(f"{ms(low / 1e3)} to {ms(high / 1e3)} {where_words(level, open_loop)}")
    return f"Nine requests in ten take {', '.join(said)}" if said else "The shape of latency"
