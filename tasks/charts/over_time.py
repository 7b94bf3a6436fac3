"""Latency through the run, a panel a level: a trend across the blocks is drift that no interval shows."""

import altair as alt
import polars as pl

from tasks.charts.theme import WIDTH, Drawing, ends, level_panels, named, wrapped

STEADY = 0.1


def over_time_chart(frame: pl.DataFrame) -> Drawing:
    """`frame`: rows of `over_time` for one target."""
    rows = named(frame).unpivot(
        ["p50_ms", "p95_ms"], index=["at", "block", "at_block", "requests"], variable_name="stat", value_name="ms"
    )
    rows = rows.with_columns(stat=pl.col("stat").str.strip_suffix("_ms"))
    first, last = (int(end) for end in ends(frame["block"]))
    blocks = list(range(first, last + 2))
    x = (
        alt.X("at_block:Q", title="block, in the order they ran")
        .scale(domain=[blocks[0], blocks[-1]], nice=False)
        .axis(
            values=[b + 0.5 for b in blocks[:-1]],
            labelExpr=f"'block ' + format(datum.value + {0.5 - blocks[0]}, 'd')",
            grid=False,
        )
    )
    lines = (
        alt.Chart()
        .mark_line(point=alt.OverlayMarkDef(size=18), strokeWidth=1.5)
        .encode(
            x=x,
            y=alt.Y("ms:Q", title="ms", scale=alt.Scale(zero=False, nice=True)).axis(tickCount=3),
            color=alt.Color("stat:N", title=None, scale=alt.Scale(domain=["p50", "p95"], range=["#3b8bc9", "#e69f00"])),
            detail="block:N",
            tooltip=[
                alt.Tooltip("at:N", title="concurrent"),
                alt.Tooltip("block:Q", title="block"),
                alt.Tooltip("stat:N", title="quantile"),
                alt.Tooltip("ms:Q", title="ms", format=",.2f"),
                alt.Tooltip("requests:Q", title="requests"),
            ],
        )
    )
    panel = alt.layer(lines, data=rows).properties(width=WIDTH - 110, height=70)
    chart: alt.FacetChart = panel.facet(row=level_panels(frame), spacing=10).resolve_scale(y="independent")
    return chart.properties(title=wrapped(_title(frame)))


def _title(frame: pl.DataFrame) -> str:
    """How far the medians of the blocks lie apart, at the level where they do most."""
    blocks = frame.group_by("level", "block").agg(p50=pl.col("p50_ms").median())
    spread = blocks.group_by("level").agg(
        n=pl.len(), by=pl.col("p50").max() / pl.col("p50").min() - 1, block=pl.col("block").sort_by("p50").last()
    )
    worst = spread.sort("by", descending=True).row(0, named=True)
    if worst["n"] == 1:
        return "Latency through the run (one block: drift between blocks cannot be seen)"
    if worst["by"] < STEADY:
        return f"Steady: block medians lie within {worst['by']:.1%} of each other at every level".replace("%", " %")
    text = f"Not steady: at {worst['level']:,} concurrent the median of block {worst['block'] + 1 - _first(frame)}"
    return f"{text} is {worst['by']:.0%} above the quietest block".replace("%", " %")


def _first(frame: pl.DataFrame) -> int:
    return int(ends(frame["block"])[0])
