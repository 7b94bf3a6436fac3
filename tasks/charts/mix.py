"""Which models a workload asks for, and how bursty it comes."""

from typing import Any

import altair as alt
import polars as pl

from tasks.charts.theme import ACCENT, QUIET, WIDTH, Drawing, wrapped
from tasks.charts.words import count, number, share

MODELS = 20


def mix_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """model, requests, share, input_p50, output_p50, the most asked first; of more than 20 the rest as one row."""
    rows = [(m["model"], m["n"], m["share"], m["input_p50"], m["output_p50"]) for m in profile["models"]]
    rest = rows[MODELS:]
    if rest:
        rows = [*rows[:MODELS], (f"{len(rest)} others", sum(r[1] for r in rest), sum(r[2] for r in rest), None, None)]
    floats = {name: pl.Float64 for name in ("share", "input_p50", "output_p50")}
    return pl.DataFrame(rows, schema={"model": pl.String, "requests": pl.Int64, **floats}, orient="row")


def mix(frame: pl.DataFrame) -> Drawing:
    """`frame`: of `mix_frame`."""
    first = frame.row(0, named=True)
    title = f"All requests ask for {first['model']}"
    if frame.height > 1:
        title = f"{count(frame.height, 'model')}: {share(first['share'])} of requests ask for {first['model']}"
    names = frame["model"].to_list()
    y = alt.Y("model:N", title=None, sort=names).axis(labelLimit=230, ticks=False, domain=False)
    x = alt.X("share:Q", title="share of requests").axis(format="%")
    tooltip = [
        "model:N",
        alt.Tooltip("requests:Q", format=","),
        alt.Tooltip("share:Q", format=".1%"),
        alt.Tooltip("input_p50:Q", title="p50 tokens in", format=",.0f"),
        alt.Tooltip("output_p50:Q", title="p50 tokens out", format=",.0f"),
    ]
    base = alt.Chart(frame, width=WIDTH - 150, height=max(26 * len(names), 40))
    bars = base.mark_bar(color=ACCENT, height=15).encode(x=x, y=y, tooltip=tooltip)
    words = base.mark_text(align="left", dx=5).encode(x=x, y=y, text=alt.Text("share:Q", format=".1%"))
    return alt.layer(bars, words).properties(title=wrapped(title))


def burst_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """window_s, dispersion: of those windows that the workload is long enough for."""
    gaps = profile.get("gaps") or {"dispersion": {}}
    rows = [(f"{scale} s", value) for scale, value in gaps["dispersion"].items() if value is not None and value > 0]
    return pl.DataFrame(rows, schema={"window": pl.String, "dispersion": pl.Float64}, orient="row")


def bursts(frame: pl.DataFrame, profile: dict[str, Any]) -> Drawing:
    """`frame`: of `burst_frame`, not empty. The line at 1 is what a Poisson stream shows in every window."""
    worst = frame.sort("dispersion").row(-1, named=True)
    word = "more" if worst["dispersion"] > 1 else "less"
    factor = worst["dispersion"] if worst["dispersion"] > 1 else 1 / worst["dispersion"]
    title = f"Counts in windows of {worst['window']} vary {number(factor)} times {word} than those of Poisson arrivals"
    cv = (profile.get("gaps") or {}).get("cv")
    title += f"; the gaps have a CV of {cv:.2f}" if cv is not None else ""
    x = alt.X("dispersion:Q", title="variance / mean of the requests in a window (log)").scale(type="log")
    y = alt.Y("window:N", title=None, sort=frame["window"].to_list()).axis(ticks=False, domain=False)
    base = alt.Chart(frame, width=WIDTH - 60, height=26 * frame.height)
    dots = base.mark_point(filled=True, size=90, opacity=1, color=ACCENT).encode(
        x=x, y=y, tooltip=["window:N", alt.Tooltip("dispersion:Q", format=",.2f")]
    )
    words = base.mark_text(align="left", dx=9).encode(x=x, y=y, text=alt.Text("dispersion:Q", format=",.1f"))
    one = alt.Chart(pl.DataFrame({"dispersion": [1.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x=x)
    return alt.layer(one, dots, words).properties(title=wrapped(title))
