"""Targets of one run beside each other: the same numbers at the same loads, with their intervals."""

import altair as alt
import polars as pl

from tasks.charts.theme import COLOURS, OPEN_LOOP, WIDTH, Drawing, named, order, where_words, wrapped
from tasks.charts.words import RATES, metric_words, value_words


def beside(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`frame`: target, level, metric, value (ms; a second for rates), lower, upper; two targets or more."""
    rows = named(frame, open_loop)
    names = frame["target"].unique(maintain_order=True).to_list()
    colour = alt.Color("target:N", title=None).scale(
        domain=names, range=[COLOURS[k % len(COLOURS)] for k in range(len(names))]
    )
    y = alt.Y("at:N", title=None, sort=order(frame, open_loop)).axis(grid=False, ticks=False, domain=False)
    offset = alt.YOffset("target:N", sort=names)
    panels = []
    for metric in frame["metric"].unique(maintain_order=True).to_list():
        unit = "a second" if metric in RATES else "ms"
        mine = rows.filter(pl.col("metric") == metric).drop("level", "metric")
        x = alt.X("value:Q", title=f"{metric_words(metric)} ({unit})").scale(zero=True)
        tooltip = [
            alt.Tooltip("target:N", title="target"),
            alt.Tooltip("at:N", title="concurrent"),
            *(alt.Tooltip(f"{name}:Q", title=said, format=",.2f")
              for name, said in (("value", unit), ("lower", "from"), ("upper", "to"))),
        ]  # fmt: skip
        height = mine["at"].n_unique() * (8 + 12 * len(names))
        base = alt.Chart(mine, width=WIDTH, height=height)
        panels.append(
            alt.layer(
                base.mark_rule(strokeWidth=2).encode(
                    x=alt.X("lower:Q"), x2="upper:Q", y=y, yOffset=offset, color=colour
                ),
                base.mark_point(filled=True, size=65, opacity=1).encode(
                    x=x, y=y, yOffset=offset, color=colour, tooltip=tooltip
                ),
            )
        )
    return alt.vconcat(*panels, spacing=16).properties(title=wrapped(_title(frame, open_loop)))


def _title(frame: pl.DataFrame, open_loop: str) -> str:
    """The first metric where the targets lie furthest apart."""
    rows = frame.filter(pl.col("metric") == frame["metric"][0])
    best: tuple[float, str] | None = None
    for part in rows.partition_by("level", maintain_order=True):
        low, high = part.sort("value").row(0, named=True), part.sort("value").row(-1, named=True)
        if part.height < 2 or low["value"] <= 0:
            continue
        where = where_words(low["level"], open_loop)
        scale = 1.0 if low["metric"] in RATES else 1e-3
        said = (
            f"{metric_words(low['metric'])} lies furthest apart {where}: "
            f"{value_words(low['metric'], low['value'] * scale)} on {low['target']}, "
            f"{value_words(low['metric'], high['value'] * scale)} on {high['target']}"
        )
        ratio = high["value"] / low["value"]
        best = (ratio, said) if best is None or ratio > best[0] else best
    return best[1] if best is not None else "The targets beside each other"
