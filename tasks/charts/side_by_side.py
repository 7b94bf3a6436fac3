"""Two targets side by side: the difference of every metric with its interval, against what would count."""

import altair as alt
import polars as pl

from tasks.charts.theme import BAD, GOOD, QUIET, WIDTH, Drawing, wrapped

WORDS = ["regressed", "unchanged", "improved", "inconclusive", "overhead"]
RANGE = [BAD, "#3b8bc9", GOOD, "#e69f00", "#8f7ad1"]


def side_by_side(frame: pl.DataFrame, baseline: str, candidate: str, min_effect: float | None) -> Drawing:
    """`frame`: what, place, effect, lower, upper, verdict, in the order in which they are drawn. `min_effect` None: an
    overhead, which nothing is held against."""
    places = frame["place"].unique(maintain_order=True).to_list()
    metrics = frame["what"].unique(maintain_order=True).to_list()
    y = alt.Y("place:N", title=None, sort=places).axis(labelLimit=160, grid=True, ticks=False, domain=False)
    x = alt.X("effect:Q", title=f"{candidate} against {baseline}").axis(format="+.0%")
    shown = [word for word in WORDS if word in frame["verdict"].to_list()]
    colour = alt.Color("verdict:N", title=None).scale(domain=shown, range=[RANGE[WORDS.index(w)] for w in shown])
    tooltip = [
        *("what:N", "place:N", "verdict:N"),
        *(alt.Tooltip(f"{name}:Q", format="+.1%") for name in ("effect", "lower", "upper")),
    ]
    base = alt.Chart(frame)
    layers = [base.mark_rule(color=QUIET).encode(x=alt.datum(0.0))]
    for end in () if min_effect is None else (-min_effect / (1 + min_effect), min_effect):
        layers.append(base.mark_rule(color=QUIET, strokeDash=[4, 4]).encode(x=alt.datum(end)))
    layers += [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q"), x2="upper:Q", y=y, color=colour),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip),
    ]
    row = alt.Row("what:N", sort=metrics, title=None).header(labelAngle=0, labelAlign="left", labelPadding=8)
    panel = alt.layer(*layers).properties(width=WIDTH - 230, height=20 * len(places))
    return panel.facet(row=row, spacing=6).properties(title=wrapped(_title(frame, baseline, candidate)))


def _title(frame: pl.DataFrame, baseline: str, candidate: str) -> str:
    slower = frame.filter(pl.col("verdict") == "regressed").height
    better = frame.filter(pl.col("verdict") == "improved").height
    if "overhead" in frame["verdict"].to_list():
        low, high = frame["effect"].min(), frame["effect"].max()
        assert isinstance(low, float) and isinstance(high, float)
        return f"Through {candidate} the numbers move by {low:+.0%} to {high:+.0%} against {baseline}"
    if slower:
        return f"{candidate} is worse than {baseline} in {slower} of {frame.height} numbers"
    if better:
        return f"{candidate} is better than {baseline} in {better} of {frame.height} numbers"
    return f"{candidate} and {baseline} are alike: no interval lies beyond the least effect, twice"
