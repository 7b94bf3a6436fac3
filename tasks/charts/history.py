"""Tonight among the nights before: every judged number on one axis, and the one that matters night by night."""

import altair as alt
import polars as pl

from storage.records import Word
from tasks.charts.theme import BAD, GOOD, QUIET, WIDTH, Drawing, ends, wrapped
from tasks.charts.words import RATES, count, metric_words, value_words

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


def nights(frame: pl.DataFrame, metric: str, where: str, verdict: str | None) -> Drawing:
    """`frame`: night (order), value (ms, a second or per cent), tonight (bool), of one judged number."""
    unit = "a second" if metric in RATES else "% of requests" if metric == "errors" else "ms"
    colour = RANGE[WORDS.index(verdict)] if verdict in WORDS else RANGE[1]
    past, tonight = frame.filter(~pl.col("tonight")), frame.filter(pl.col("tonight"))
    x = alt.X("night:Q", title="night").axis(format="d", tickMinStep=1, grid=False).scale(nice=False, padding=14)
    y = alt.Y("value:Q", title=f"{metric_words(metric)} ({unit})").scale(zero=False, nice=True)
    tooltip = ["night:Q", alt.Tooltip("value:Q", title=unit, format=",.2f")]
    base = alt.Chart(past.drop("tonight"), width=WIDTH, height=200)
    line = base.mark_line(color=QUIET, strokeWidth=1).encode(x=x, y=y)
    dots = base.mark_point(filled=True, color=QUIET, size=50, opacity=1).encode(x=x, y=y, tooltip=tooltip)
    last = alt.Chart(tonight.drop("tonight")).mark_point(filled=True, color=colour, size=130, opacity=1)
    name = alt.Chart(tonight.drop("tonight")).mark_text(align="right", dx=-12, fontWeight=600, text="tonight")
    title = _nights_title(past, tonight, metric, where)
    return alt.layer(line, dots, last.encode(x=x, y=y, tooltip=tooltip), name.encode(x=x, y=y)).properties(
        title=wrapped(title)
    )


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


def _nights_title(past: pl.DataFrame, tonight: pl.DataFrame, metric: str, where: str) -> str:
    scale = 1.0 if metric in RATES else 1e-2 if metric == "errors" else 1e-3

    def said(value: float) -> str:
        return value_words(metric, value * scale)

    text = f"{metric_words(metric)} {where}: {said(tonight['value'][0])} tonight"
    if past.is_empty():
        return text
    low, high = ends(past["value"])
    return f"{text}, {said(low)} to {said(high)} in the {count(past.height, 'night')} before"
