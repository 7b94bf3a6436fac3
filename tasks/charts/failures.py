"""Requests that failed, by kind and level."""

import altair as alt
import polars as pl

from tasks.charts.theme import COLOURS, OPEN_LOOP, WIDTH, Drawing, named, order, where_words, wrapped
from tasks.charts.words import share


def failures(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`frame`: level, kind, requests, measured (all requests of the level), of one target; no row: nothing failed."""
    rows = named(frame, open_loop).with_columns(share=pl.col("requests") / pl.col("measured"))
    kinds = sorted(rows["kind"].unique())
    colours = [COLOURS[(i + 3) % len(COLOURS)] for i in range(len(kinds))]
    chart: alt.Chart = (
        alt.Chart(
            rows.drop("level"), title=wrapped(_title(frame, open_loop)), width=WIDTH, height=30 * rows["at"].n_unique()
        )
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of the level's requests").axis(format=".2~%").stack("zero"),
            y=alt.Y("at:N", title="concurrent", sort=order(frame, open_loop)),
            color=alt.Color("kind:N", title="failure", scale=alt.Scale(domain=kinds, range=colours)),
            tooltip=[
                alt.Tooltip("at:N", title="concurrent"),
                alt.Tooltip("kind:N", title="failure"),
                alt.Tooltip("requests:Q", title="requests", format=",d"),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    return chart


def _title(frame: pl.DataFrame, open_loop: str) -> str:
    levels = frame.group_by("level").agg(
        failed=pl.col("requests").sum(),
        measured=pl.col("measured").max(),
        kind=pl.col("kind").sort_by("requests").last(),
    )
    worst = levels.sort(pl.col("failed") / pl.col("measured"), descending=True).row(0, named=True)
    where = where_words(worst["level"], open_loop)
    text = f"{share(worst['failed'] / worst['measured'])} of requests {where} failed"
    return f"{text}, {'all' if frame['kind'].n_unique() == 1 else 'most'} as {worst['kind']}"
