"""Slow change: the mean over levels night by night against the frozen baseline, and the sum of small moves below it."""

import altair as alt
import polars as pl

from tasks.charts.theme import BAD, QUIET, WIDTH, Drawing, wrapped
from tasks.charts.words import as_moved, count, metric_words, signed

ACCENT = "#3b8bc9"
BASELINE, AFTER = "in the baseline", "not in it"


def drift(frame: pl.DataFrame, metric: str, where: str, *, limit: float, onset: int | None) -> Drawing:
    """`frame`: night (order), label (a date), baseline (is it in it), effect (ratio − 1 against the baseline's mean, up
    is worse), lower, upper (where an unchanged night would have lain; null: not known), c (the sum of small moves;
    null: before the baseline had nights enough for one). `limit`: where the sum alarms; `onset`: the last night on
    which it was 0.
    """
    shown = frame.with_columns(part=pl.when("baseline").then(pl.lit(BASELINE)).otherwise(pl.lit(AFTER)))
    top = alt.layer(*_expected(shown), _zero("effect"), *_nights(shown, metric), *_onset(shown, onset))
    bottom = alt.layer(*_sum(shown, limit), *_onset(shown, onset))
    both: alt.VConcatChart = (
        alt.vconcat(top.properties(width=WIDTH, height=190), bottom.properties(width=WIDTH, height=110), spacing=14)
        .resolve_scale(x="shared", color="independent")
        .properties(title=wrapped(_title(shown, metric, where, limit, onset)))
    )
    return both


def _x(shown: pl.DataFrame, title: str | None) -> alt.X:
    low, high = int(shown["night"].min() or 0), int(shown["night"].max() or 0)  # type: ignore[arg-type]
    scale = alt.Scale(domain=[low - 0.5, high + 0.5], nice=False)
    return alt.X("night:Q", title=title).axis(format="d", tickMinStep=1, grid=False).scale(scale)


def _expected(shown: pl.DataFrame) -> list[alt.Chart]:
    """Grey: where an unchanged night lies."""
    known = shown.filter(pl.col("lower").is_not_null() & pl.col("upper").is_not_null())
    if known.is_empty():
        return []
    band = known.select("night", "lower", "upper")
    y = alt.Y("lower:Q", title="")
    area = alt.Chart(band).mark_area(color=QUIET, opacity=0.18, interpolate="step")
    return [area.encode(x=_x(shown, None), y=y, y2="upper:Q")]


def _nights(shown: pl.DataFrame, metric: str) -> list[alt.Chart]:
    y = alt.Y("effect:Q", title=f"{metric_words(metric)}, worse than usual").axis(format="+.0%").scale(zero=False)
    colour = alt.Color("part:N", title=None).scale(domain=[BASELINE, AFTER], range=[QUIET, ACCENT])
    tooltip = [
        alt.Tooltip("label:N", title="night"),
        alt.Tooltip("effect:Q", title="worse by", format="+.1%"),
        "part:N",
    ]
    base = alt.Chart(shown.select("night", "label", "effect", "part"))
    line = base.mark_line(color=QUIET, strokeWidth=1, opacity=0.6).encode(x=_x(shown, None), y=y)
    dots = base.mark_point(filled=True, size=45, opacity=1)
    return [line, dots.encode(x=_x(shown, None), y=y, color=colour, tooltip=tooltip)]


def _sum(shown: pl.DataFrame, limit: float) -> list[alt.Chart]:
    after = shown.filter(pl.col("c").is_not_null()).select("night", "label", "c", alarm=pl.col("c") > limit)
    y = alt.Y("c:Q", title="sum of moves").scale(domainMin=0)
    x = _x(shown, "night")
    base = alt.Chart(after)
    colour = alt.condition("datum.alarm", alt.value(BAD), alt.value(ACCENT))
    line = base.mark_line(color=ACCENT).encode(x=x, y=y)
    dots = base.mark_point(filled=True, size=45, opacity=1)
    dots = dots.encode(x=x, y=y, color=colour, tooltip=["label:N", alt.Tooltip("c:Q", title="sum", format=".1f")])
    rule = alt.Chart(pl.DataFrame({"c": [limit]})).mark_rule(color=BAD, strokeDash=[4, 4]).encode(y=y)
    first = int(shown["night"].min() or 0)  # type: ignore[arg-type]
    said = pl.DataFrame({"night": [first - 0.3], "c": [limit]})
    text = alt.Chart(said).mark_text(align="left", dy=-7, color=BAD, text="alarm").encode(x=x, y=y)
    return [line, dots, rule, text]


def _zero(column: str) -> alt.Chart:
    rule: alt.Chart = alt.Chart(pl.DataFrame({column: [0.0]})).mark_rule(color=QUIET).encode(y=f"{column}:Q")
    return rule


def _onset(shown: pl.DataFrame, onset: int | None) -> list[alt.Chart]:
    if onset is None or shown.filter(pl.col("night") == onset).is_empty():
        return []
    at = pl.DataFrame({"night": [onset]})
    return [alt.Chart(at).mark_rule(color=BAD, strokeDash=[2, 3]).encode(x=_x(shown, None))]


def _title(shown: pl.DataFrame, metric: str, where: str, limit: float, onset: int | None) -> str:
    what = f"{metric_words(metric)} {where}".strip()
    after = shown.filter(pl.col("c").is_not_null()).sort("night")
    anchor = count(int(shown["baseline"].sum()), "night")
    if after.is_empty():
        return f"{what}: {anchor} in the baseline, too few to tell a drift"
    last = after.row(-1, named=True)
    moved = f"{signed(as_moved(metric, last['effect']))} % tonight against {anchor} of the baseline"
    if last["c"] <= limit:
        return f"{what} does not drift: {moved}"
    since = [row["label"] for row in shown.iter_rows(named=True) if row["night"] == onset]
    return f"{what} drifts{f' since {since[0]}' if since else ''}: {moved}"
