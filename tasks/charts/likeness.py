"""A copy against its source: each distance as a share of its limit, beside the source's own noise."""

import math
from typing import Any

import altair as alt
import polars as pl

from tasks.charts.theme import BAD, GOOD, QUIET, WIDTH, Drawing, wrapped


def likeness_frame(report: dict[str, Any]) -> pl.DataFrame:
    """what, used (1 is the limit), noise (the floor, the same way; None without one), inside (in, out, open): of the
    judged measures of a fidelity report. A ratio uses its limit up as its logarithm does."""
    rows = [
        (
            m["what"],
            _used(m, m["value"]),
            _used(m, m["floor"]),
            "in" if m["ok"] else "out" if m["ok"] is False else "open",
        )
        for m in report["measures"]
        if m["upper"] is not None and m["upper"] != m["lower"]
    ]
    schema = {"what": pl.String, "used": pl.Float64, "noise": pl.Float64, "inside": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def likeness(frame: pl.DataFrame, title: str) -> Drawing:
    """`frame`: of `likeness_frame`, not empty."""
    names = frame["what"].to_list()
    top = max(1.25, min(3.0, max(frame["used"].to_list()) * 1.05))
    x = alt.X("used:Q", title="share of the limit used; the tick is the source against itself").axis(format="%")
    x = x.scale(domain=[0, top], clamp=True)
    y = alt.Y("what:N", title=None, sort=names).axis(labelLimit=230, ticks=False, domain=False)
    colour = (
        alt.Color("inside:N", title=None).scale(domain=["in", "out", "open"], range=[GOOD, BAD, QUIET]).legend(None)
    )
    base = alt.Chart(frame, width=WIDTH - 200, height=24 * len(names))
    bars = base.mark_bar(height=10).encode(
        x=x, y=y, color=colour, tooltip=["what:N", alt.Tooltip("used:Q", format=".0%")]
    )
    noise = base.mark_tick(color=QUIET, thickness=2, height=16).encode(
        x=alt.X("noise:Q").scale(domain=[0, top], clamp=True), y=y
    )
    limit = alt.Chart(pl.DataFrame({"used": [1.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="used:Q")
    return alt.layer(limit, bars, noise).properties(title=wrapped(title))


def _used(m: dict[str, Any], value: float | None) -> float | None:
    if value is None:
        return None
    if m["lower"] is None:
        return float(value / m["upper"])
    if value <= 0:
        return None
    return _ratio(value, m["upper"]) if value >= 1 else _ratio(value, m["lower"])


def _ratio(value: float, limit: float) -> float:
    return math.log(value) / math.log(limit)
