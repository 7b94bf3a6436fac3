"""An open loop as it went: requests due and sent, and how many were under way."""

import altair as alt
import polars as pl

from tasks.charts.theme import OPEN_LOOP, WIDTH, Drawing, ends, wrapped
from tasks.charts.words import number

STREAMS = {"due": ("#8c8c8c", [1, 0]), "sent": ("#3b8bc9", [5, 3]), "stress": ("#d55e00", [1, 0])}


def arrivals(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> Drawing:
    """`frame`: rows of `open_loop` for one target."""
    shown = [name for name in STREAMS if name != "stress" or frame["stress_rps"].sum() > 0]
    rates = frame.select("t_s", **{name: f"{name}_rps" for name in shown}).unpivot(
        shown, index="t_s", variable_name="what", value_name="rps"
    )
    colours, dashes = [STREAMS[name][0] for name in shown], [STREAMS[name][1] for name in shown]
    x = alt.X("t_s:Q", title="seconds from the first request due").scale(nice=False).axis(grid=False)
    colour = alt.Color("what:N", title=None).scale(domain=shown, range=colours)
    top = (
        alt.Chart(rates, width=WIDTH, height=130)
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            x=x.title(None),
            y=alt.Y("rps:Q", title="requests a second"),
            color=colour,
            strokeDash=alt.StrokeDash("what:N", title=None).scale(domain=shown, range=dashes),
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
    return alt.vconcat(top, bottom, spacing=12).properties(title=wrapped(_title(frame, open_loop)))


def _title(frame: pl.DataFrame, open_loop: str) -> str:
    peak = frame.sort("in_flight").row(-1, named=True)
    rate = ends(frame["due_rps"])[1]
    behind = ends(frame["due_rps"].cum_sum() - frame["sent_rps"].cum_sum())[1] * _width(frame)
    late = "" if behind < 1.5 else f"; up to {number(behind)} requests were due and not yet sent"
    stress = ends(frame["stress_rps"])[1]
    on_top = f", with a stress of up to {number(stress)}/s on top" if stress > 0 else ""
    under_way = f"{peak['in_flight']:,} requests under way at most"
    return f"The {open_loop} peaks at {number(rate)}/s{on_top}, with {under_way}{late}"


def _width(frame: pl.DataFrame) -> float:
    return float(frame["t_s"][1] - frame["t_s"][0]) if frame.height > 1 else 1.0
