"""Latency through the run as a heat map, a panel a level: what a median hides, when it began and when it ended."""

import altair as alt
import polars as pl

from tasks.charts.theme import ACCENT, OPEN_LOOP, WIDTH, Drawing, ends, level_panels, named, where_words, wrapped
from tasks.charts.words import share

EXPECTED = 0.05  # beyond a level's own p95
STANDS_OUT = 0.2


def heat_map(cells: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`cells`: rows of `heat` for one target, either all of the closed loop or all of the open loop."""
    closed = int(ends(cells["level"])[0]) > 0
    frame = named(cells, open_loop).drop("level", "slow")
    tooltip = [
        alt.Tooltip("at:N", title="concurrent"),
        alt.Tooltip("from_x:Q", title="from block" if closed else "from second", format=",.2f"),
        alt.Tooltip("low_ms:Q", title="from (ms)", format=",.2f"),
        alt.Tooltip("high_ms:Q", title="to (ms)", format=",.2f"),
        alt.Tooltip("requests:Q", title="requests"),
        alt.Tooltip("share:Q", title="of this stretch", format=".1%"),
    ]
    y = alt.Y("low_ms:Q", title="ms (log)").scale(type="log", nice=False)
    panel = (
        alt.Chart(frame)
        .mark_rect(color=ACCENT)
        .encode(
            x=_blocks(cells) if closed else _seconds(cells),
            x2="to_x:Q",
            y=y.axis(tickCount=4, format="~s", grid=False),
            y2="high_ms:Q",
            opacity=alt.Opacity("share:Q", title="share of a stretch")
            .scale(type="sqrt", range=[0.06, 1.0])
            .legend(format=".0%", symbolType="square", symbolFillColor=ACCENT, symbolStrokeWidth=0),
            tooltip=tooltip,
        )
        .properties(width=WIDTH - 110, height=84 if closed else 160)
    )
    chart: alt.FacetChart = panel.facet(row=level_panels(cells, open_loop), spacing=10).resolve_scale(y="independent")
    return chart.properties(title=wrapped(_title(cells, closed, open_loop)))


def _blocks(cells: pl.DataFrame) -> alt.X:
    first, last = int(ends(cells["from_x"])[0]), round(ends(cells["to_x"])[1] + 0.499)
    return (
        alt.X("from_x:Q", title="block, in the order they ran")
        .scale(domain=[first, last], nice=False)
        .axis(
            values=[block + 0.5 for block in range(first, last)],
            labelExpr=f"'block ' + format(datum.value + {0.5 - first}, 'd')",
            grid=False,
            ticks=False,
        )
    )


def _seconds(cells: pl.DataFrame) -> alt.X:
    return (
        alt.X("from_x:Q", title="seconds from the first request")
        .scale(domain=[0, ends(cells["to_x"])[1]], nice=False)
        .axis(grid=False, tickCount=8)
    )


def _title(cells: pl.DataFrame, closed: bool, open_loop: str) -> str:
    """The stretch with most requests beyond its level's own p95, if it stands out."""
    stretches = cells.group_by("level", "from_x").agg(
        slow=pl.col("slow").sum() / pl.col("requests").sum(), n=pl.col("requests").sum()
    )
    worst = stretches.sort("slow", "n", "level", descending=True).row(0, named=True)
    if worst["slow"] < STANDS_OUT:
        where = "sweep" if closed else open_loop
        return f"No stretch of the {where} stands out: at most {share(worst['slow'])} of one lie beyond its level's p95"
    where = f"of the {open_loop} from second {worst['from_x']:,.0f} on"
    if closed:
        block = int(worst["from_x"]) + 1 - int(ends(cells["from_x"])[0])
        where = f"of block {block} {where_words(worst['level'])}"
    return f"The slowest stretch is a part {where}: {share(worst['slow'])} of its requests lie beyond the p95 of all"
