"""The replay as it went: requests due and sent, and how many were under way."""

import altair as alt
import polars as pl

from tasks.charts.theme import WIDTH, Drawing, ends, wrapped
from tasks.charts.words import number

RANGE = ["#8c8c8c", "#3b8bc9"]


def arrivals(frame: pl.DataFrame) -> Drawing:
    """`frame`: rows of `open_loop` for one target."""
    rates = frame.select("t_s", due="due_rps", sent="sent_rps").unpivot(
        ["due", "sent"], index="t_s", variable_name="what", value_name="rps"
    )
    x = alt.X("t_s:Q", title="seconds from the first request due").scale(nice=False).axis(grid=False)
    colour = alt.Color("what:N", title=None).scale(domain=["due", "sent"], range=RANGE)
    top = (
        alt.Chart(rates, width=WIDTH, height=130)
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            x=x.title(None),
            y=alt.Y("rps:Q", title="requests a second"),
            color=colour,
            strokeDash=alt.StrokeDash("what:N", title=None).scale(domain=["due", "sent"], range=[[1, 0], [5, 3]]),
            tooltip=[
                alt.Tooltip("t_s:Q", title="second"),
                "what:N",
                alt.Tooltip("rps:Q", title="a second", format=",.1f"),
            ],
        )
    )
    bottom = (
        alt.Chart(frame.select("t_s", "in_flight"), width=WIDTH, height=110)
        .mark_area(
            interpolate="step-after", color="#3b8bc9", opacity=0.35, line={"color": "#3b8bc9", "strokeWidth": 1.5}
        )
        .encode(
            x=x,
            y=alt.Y("in_flight:Q", title="under way"),
            tooltip=[alt.Tooltip("t_s:Q", title="second"), alt.Tooltip("in_flight:Q", title="under way")],
        )
    )
    return alt.vconcat(top, bottom, spacing=12).properties(title=wrapped(_title(frame)))


def _title(frame: pl.DataFrame) -> str:
    peak = frame.sort("in_flight").row(-1, named=True)
    rate = ends(frame["due_rps"])[1]
    behind = ends(frame["due_rps"].cum_sum() - frame["sent_rps"].cum_sum())[1] * _width(frame)
    late = "" if behind < 1.5 else f"; up to {number(behind)} requests were due and not yet sent"
    return f"The replay peaks at {number(rate)}/s, with {peak['in_flight']:,} requests under way at most{late}"


def _width(frame: pl.DataFrame) -> float:
    return float(frame["t_s"][1] - frame["t_s"][0]) if frame.height > 1 else 1.0
