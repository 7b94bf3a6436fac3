"""A workload's traffic over time: how many requests were under way, and how many came; its hours of the week."""

from typing import Any

import altair as alt
import polars as pl

from tasks.charts.theme import ACCENT, WIDTH, Drawing, wrapped
from tasks.charts.words import number

POINTS = 400  # of a curve, at most
UNITS = (("hour", 3600, 18_000.0), ("minute", 60, 180.0), ("second", 1, 0.0))  # each from so many seconds on
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def concurrency_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """t_s, under_way: the mean in each step; no rows where no duration was recorded."""
    found = profile.get("concurrency") or {"curve": [], "step_s": 0.0}
    rows = [(k * found["step_s"], value) for k, value in enumerate(found["curve"])]
    return pl.DataFrame(rows, schema={"t_s": pl.Float64, "under_way": pl.Float64}, orient="row")


def rate_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """t_s, rps, of the finest rate curve that has no more than 400 steps; else of the coarsest, joined to as many."""
    curves = sorted(profile["rates"], key=lambda curve: int(curve["step_s"]))
    if not curves:
        return pl.DataFrame(schema={"t_s": pl.Float64, "rps": pl.Float64})
    curve = next((c for c in curves if len(c["counts"]) <= POINTS), curves[-1])
    counts, step_s = curve["counts"], curve["step_s"]
    joined = -(-len(counts) // POINTS)
    parts = [counts[k : k + joined] for k in range(0, len(counts), joined)]
    rows = [(float(k * joined * step_s), sum(part) / (len(part) * step_s)) for k, part in enumerate(parts)]
    return pl.DataFrame(rows, schema={"t_s": pl.Float64, "rps": pl.Float64}, orient="row")


def traffic(concurrency: pl.DataFrame, rates: pl.DataFrame, profile: dict[str, Any]) -> Drawing:
    """`concurrency`, `rates`: see above, of one profile; the upper part is left out where no duration is known."""
    unit, per = next(u for u in UNITS if profile["span_s"] >= u[2])[:2]
    concurrency, rates = (frame.with_columns(t=pl.col("t_s") / per).drop("t_s") for frame in (concurrency, rates))
    x = alt.X("t:Q", title=f"{unit}s from the first request").scale(nice=False).axis(grid=False)
    when = alt.Tooltip("t:Q", title=unit, format=",.1f")
    below = _area(rates, "rps", "requests a second", x, when, 130 if concurrency.height else 200)
    title = wrapped(_title(profile))
    if concurrency.is_empty():
        return below.properties(title=title)
    above = _area(concurrency, "under_way", "under way", x.title(None), when, 170)
    return alt.vconcat(above, below, spacing=12).properties(title=title)


def _area(frame: pl.DataFrame, column: str, title: str, x: alt.X, when: alt.Tooltip, height: int) -> alt.Chart:
    y = alt.Y(f"{column}:Q", title=title)
    line: Any = {"color": ACCENT, "strokeWidth": 1.5}
    chart: alt.Chart = (
        alt.Chart(frame, width=WIDTH, height=height)
        .mark_area(interpolate="step-after", color=ACCENT, opacity=0.35, line=line)
        .encode(x=x, y=y, tooltip=[when, alt.Tooltip(f"{column}:Q", title=title, format=",.2f")])
    )
    return chart


def _title(profile: dict[str, Any]) -> str:
    peak = max((curve["peak_rps"] for curve in profile["rates"]), default=0.0)
    found = profile.get("concurrency")
    if found is None:
        return f"Requests come at up to {number(peak)} a second; how many were under way is not in the log"
    return (
        f"{number(found['mean'])} requests are under way on average and {found['max']:,} at most; "
        f"they come at up to {number(peak)} a second"
    )


def week_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """day, hour, rps, seen_h: one row for each hour of the week that was seen."""
    rows = [(DAYS[w["weekday"]], w["hour"], w["rps"], w["seconds"] / 3600) for w in profile.get("week") or []]
    schema = {"day": pl.String, "hour": pl.Int64, "rps": pl.Float64, "seen_h": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def week(frame: pl.DataFrame) -> Drawing:
    """`frame`: of `week_frame`, not empty."""
    busiest = frame.sort("rps").row(-1, named=True)
    quietest = frame.sort("rps").row(0, named=True)
    title = (
        f"The busiest hour is {busiest['day']} {busiest['hour']:02}:00 UTC with {number(busiest['rps'])} requests a "
        f"second, the quietest {quietest['day']} {quietest['hour']:02}:00 with {number(quietest['rps'])}"
    )
    tooltip = ["day:N", "hour:O", alt.Tooltip("rps:Q", title="a second", format=",.2f"), "seen_h:Q"]
    chart: alt.Chart = (
        alt.Chart(frame, width=WIDTH, height=24 * frame["day"].n_unique())
        .mark_rect()
        .encode(
            x=alt.X("hour:O", title="hour (UTC)").axis(labelAngle=0),
            y=alt.Y("day:N", title=None, sort=DAYS),
            color=alt.Color("rps:Q", title="requests a second").scale(scheme="blues"),
            tooltip=tooltip,
        )
        .properties(title=wrapped(title))
    )
    return chart
