"""How large a workload's requests are, in and out, and which goes with which."""

from typing import Any

import altair as alt
import polars as pl

from tasks.charts.theme import WIDTH, Drawing, wrapped
from tasks.charts.words import share

SIDES = ["input", "output"]
RANGE = ["#3b8bc9", "#e69f00"]
SAID = ("p50", "p90", "p99")


def size_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """side, tokens, per_cent: the share of requests with at most so many tokens, from the profile's grid of 101."""
    grids = profile.get("token_grids") or {}
    rows = [(side, value, k) for side in SIDES for k, value in enumerate(grids.get(side, ()))]
    return pl.DataFrame(rows, schema={"side": pl.String, "tokens": pl.Float64, "per_cent": pl.Int64}, orient="row")


def sizes(frame: pl.DataFrame, profile: dict[str, Any]) -> Drawing:
    """`frame`: of `size_frame`, not empty."""
    low = max(1.0, float(frame["tokens"].filter(frame["tokens"] > 0).min() or 1.0))  # type: ignore[arg-type]
    x = alt.X("tokens:Q", title="tokens (log)").scale(type="log", nice=False, domainMin=low, clamp=True)
    colour = alt.Color("side:N", title=None).scale(domain=SIDES, range=RANGE)
    chart: alt.Chart = (
        alt.Chart(frame, width=WIDTH, height=220)
        .mark_line(interpolate="step-after")
        .encode(
            x=x,
            y=alt.Y("per_cent:Q", title="% of requests with at most so many").scale(domain=[0, 100]),
            color=colour,
            tooltip=["side:N", alt.Tooltip("tokens:Q", format=",.0f"), alt.Tooltip("per_cent:Q", title="% at most")],
        )
        .properties(title=wrapped(_title(profile)))
    )
    return chart


def _title(profile: dict[str, Any]) -> str:
    said = []
    for side in SIDES:
        found = profile.get(f"{side}_tokens")
        if found is not None:
            quantiles = ", ".join(f"{found['quantiles'][q]:,.0f}" for q in SAID)
            said.append(f"{quantiles} tokens {'in' if side == 'input' else 'out'}")
    return f"p50, p90 and p99 of a request: {'; '.join(said)}"


def joint_frame(profile: dict[str, Any]) -> pl.DataFrame:
    """input, input_to, output, output_to (edges in tokens; a bin of zeros reads 0 to 1), requests, share."""
    total = sum(b["n"] for b in profile["joint"])
    rows = [
        (i, max(2 * i, 1), o, max(2 * o, 1), b["n"], b["n"] / total)
        for b in profile["joint"]
        for i, o in [(b["input_from"], b["output_from"])]
    ]
    names = ("input", "input_to", "output", "output_to", "requests")
    schema = {**{name: pl.Int64 for name in names}, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def joint(frame: pl.DataFrame, spearman: float | None) -> Drawing:
    """`frame`: of `joint_frame`, not empty. Bins of a factor of two; the axes name their lower edges."""
    ordered = {name: sorted(frame[name].unique(), reverse=name == "output") for name in SIDES}
    most = frame.sort("requests").row(-1, named=True)
    relation = "" if spearman is None else f"; Spearman {spearman:+.2f}"
    title = (
        f"The most frequent sizes, {share(most['share'])} of requests: "
        f"{most['input']:,} to {most['input_to']:,} tokens in and "
        f"{most['output']:,} to {most['output_to']:,} out{relation}"
    )
    x = alt.X("input:O", title="tokens in, from", sort=ordered["input"]).axis(labelAngle=0)
    y = alt.Y("output:O", title="tokens out, from", sort=ordered["output"])
    tooltip = [alt.Tooltip(f"{name}:Q", format=",") for name in ("input", "input_to", "output", "output_to")]
    chart: alt.Chart = (
        alt.Chart(frame, width=WIDTH, height=22 * len(ordered["output"]))
        .mark_rect()
        .encode(
            x=x,
            y=y,
            color=alt.Color("share:Q", title="share of requests").scale(scheme="blues").legend(format=".0%"),
            tooltip=[*tooltip, "requests:Q", alt.Tooltip("share:Q", format=".2%")],
        )
        .properties(title=wrapped(title))
    )
    return chart
