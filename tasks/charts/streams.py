"""Streams against concurrency: time to the first token, time a token, gaps between chunks."""

import altair as alt
import polars as pl

from tasks.charts.theme import OPEN_LOOP, WIDTH, Drawing, level_words, log_scale, named, order, wrapped
from tasks.charts.words import ms

STATS = ["p50", "p95", "p99"]
RANGE = ["#3b8bc9", "#e69f00", "#d55e00"]
QUANTITIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}


def streams(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`frame`: level (0: the open loop), quantity (ttft, tpot, itl), stat, ms, lower, upper, of one target."""
    names = pl.col("quantity").replace_strict(QUANTITIES, return_dtype=pl.String)
    rows = named(frame, open_loop).with_columns(quantity=names, swept=pl.col("level") > 0)
    stats = [stat for stat in STATS if stat in rows["stat"].to_list()]
    colour = alt.Color("stat:N", title=None, sort=stats).scale(
        domain=stats, range=[RANGE[STATS.index(stat)] for stat in stats]
    )
    x = alt.X("at:N", title="concurrent requests", sort=order(frame, open_loop)).axis(labelAngle=0, grid=False)
    tooltip = [
        alt.Tooltip("quantity:N", title="what"),
        alt.Tooltip("stat:N", title="quantile"),
        alt.Tooltip("at:N", title="concurrent"),
        alt.Tooltip("ms:Q", title="ms", format=",.2f"),
        alt.Tooltip("lower:Q", title="from", format=",.2f"),
        alt.Tooltip("upper:Q", title="to", format=",.2f"),
    ]
    shown = [name for name in QUANTITIES.values() if name in rows["quantity"].to_list()]
    panels = []
    for name in shown:
        mine = rows.filter(pl.col("quantity") == name).drop("level")
        drawn = [v for column in ("ms", "lower", "upper") for v in mine[column].drop_nulls().to_list()]
        y = alt.Y("ms:Q", title=f"{name} (ms, log)", scale=log_scale(drawn)).axis(tickCount=4)
        base = alt.Chart(mine, width=WIDTH, height=120)
        along = x if name == shown[-1] else x.title(None)
        panels.append(
            alt.layer(
                base.transform_filter("datum.swept").mark_line(strokeWidth=1.5).encode(x=along, y=y, color=colour),
                base.mark_rule(strokeWidth=2).encode(x=along, y=alt.Y("lower:Q"), y2="upper:Q", color=colour),
                base.mark_point(filled=True, size=55, opacity=1).encode(x=along, y=y, color=colour, tooltip=tooltip),
            )
        )
    return alt.vconcat(*panels, spacing=14).properties(title=wrapped(_title(frame)))


def _title(frame: pl.DataFrame) -> str:
    first, gap = _said(frame, "ttft", "p95"), _said(frame, "tpot", "p50")
    gap = gap or _said(frame, "itl", "p50")
    if first and gap:
        return f"The first token comes after {first} (TTFT p95), then one every {gap} (p50)"
    if first:
        return f"The first token comes after {first} (TTFT p95)"
    return f"A token comes every {gap} (p50)" if gap else "Tokens over time"


def _said(frame: pl.DataFrame, quantity: str, stat: str) -> str:
    """`45 ms at 1 concurrent and 98 ms at 100`; one number where there is one level or hardly a difference."""
    rows = frame.filter((pl.col("quantity") == quantity) & (pl.col("stat") == stat))
    swept = rows.filter(pl.col("level") > 0).sort("level")
    found = swept if swept.height else rows
    if found.is_empty():
        return ""
    low, high = found.row(0, named=True), found.row(-1, named=True)
    if found.height == 1 or abs(high["ms"] - low["ms"]) <= 0.1 * low["ms"]:
        return ms(low["ms"] / 1e3)
    start, end = level_words(low["level"]), level_words(high["level"])
    return f"{ms(low['ms'] / 1e3)} at {start} concurrent and {ms(high['ms'] / 1e3)} at {end}"
