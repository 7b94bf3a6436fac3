"""Tonight among the nights before: every judged number on one axis."""

import altair as alt
import polars as pl

from storage.records import Word
from tasks.charts.theme import BAD, GOOD, QUIET, WIDTH, Drawing, ends, wrapped
from tasks.charts.words import count

WORDS = [word.value for word in (Word.REGRESSED, Word.UNCHANGED, Word.IMPROVED, Word.INCONCLUSIVE, Word.INVALID)]
RANGE = [BAD, "#3b8bc9", GOOD, "#e69f00", "#cc79a7"]


def against_history(frame: pl.DataFrame) -> Drawing:
    """`frame`: what (the number in words), night (None: tonight), ratio (to the median of the past nights, − 1),
    verdict, in the order in which they are drawn."""
    names = frame["what"].unique(maintain_order=True).to_list()
    y = alt.Y("what:N", title=None, sort=names).axis(labelLimit=230, grid=True, ticks=False, domain=False)
    x = alt.X("ratio:Q", title="difference from the median of the past nights").axis(format="+.0%")
    past, tonight = frame.filter(pl.col("night").is_not_null()), frame.filter(pl.col("night").is_null())
    shown = [word for word in WORDS if word in tonight["verdict"].to_list()]
    colour = alt.Color("verdict:N", title="tonight").scale(
        domain=shown, range=[RANGE[WORDS.index(word)] for word in shown]
    )
    grey = (
        alt.Chart(past.select("what", "night", "ratio"), width=WIDTH - 150, height=20 * len(names))
        .mark_tick(color=QUIET, thickness=1.5, height=11, opacity=0.8)
        .encode(x=x, y=y, tooltip=["what:N", "night:Q", alt.Tooltip("ratio:Q", format="+.1%")])
    )
    dots = (
        alt.Chart(tonight.select("what", "ratio", "verdict"), width=WIDTH - 150, height=20 * len(names))
        .mark_point(filled=True, size=90, opacity=1)
        .encode(x=x, y=y, color=colour, tooltip=["what:N", "verdict:N", alt.Tooltip("ratio:Q", format="+.1%")])
    )
    zero = alt.Chart(pl.DataFrame({"ratio": [0.0]})).mark_rule(color=QUIET).encode(x="ratio:Q")
    return alt.layer(zero, grey, dots).properties(title=wrapped(_title(past, tonight)))


def _title(past: pl.DataFrame, tonight: pl.DataFrame) -> str:
    ranges = past.group_by("what").agg(low=pl.col("ratio").min(), high=pl.col("ratio").max(), n=pl.len())
    outside = tonight.join(ranges, on="what").filter(
        (pl.col("ratio") < pl.col("low")) | (pl.col("ratio") > pl.col("high"))
    )
    most = 0 if ranges.is_empty() else int(ends(ranges["n"])[1])
    nights = f"the past {count(most, 'night')}" if most > 1 else "the one past night"
    if outside.is_empty():
        return f"Tonight lies inside the range of {nights} in all {tonight.height} numbers"
    return f"Tonight lies outside the range of {nights} in {outside.height} of {tonight.height} numbers"
