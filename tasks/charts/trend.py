"""One number over the nights: its intervals, the baseline it is held against, dated changes and incidents."""

from dataclasses import dataclass

import altair as alt
import polars as pl

from tasks.charts.history import RANGE, WORDS
from tasks.charts.theme import BAD, QUIET, WIDTH, Drawing, ends, wrapped
from tasks.charts.words import RATES, count, metric_words, signed, value_words

CHANGED = "#e69f00"
LEAST = 0.02
UNJUDGED = "not judged"
BANDS = {"from": pl.String, "to": pl.String, "label": pl.String}
MARKS = {"when": pl.String, "label": pl.String}
# Vega's own names hours from 1 to 12, without saying which half of the day.
CLOCK = {"seconds": "%H:%M:%S", "minutes": "%H:%M", "hours": "%H:%M"}
ANCHORS = {"from": pl.String, "to": pl.String, "nights": pl.Int64, "centre": pl.Float64, "low": pl.Float64,
           "high": pl.Float64}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Beside:
    """What is drawn behind the nights; times as ISO 8601. `anchors`: the baseline of each segment, in the unit of the
    nights; `incidents`: bands; `changes`, `segments`: nights on which the number changed, or another segment began."""

    anchors: pl.DataFrame
    incidents: pl.DataFrame
    changes: pl.DataFrame
    segments: pl.DataFrame


def nothing_beside() -> Beside:
    return Beside(*(pl.DataFrame(schema=schema) for schema in (ANCHORS, BANDS, MARKS, MARKS)))


def trend(frame: pl.DataFrame, metric: str, where: str, beside: Beside, *, height: int = 210) -> Drawing:
    """`frame`: night (ISO 8601), value, lower, upper (ms, a second or per cent), verdict (of the whole night),
    baseline (is it a night of the baseline), oldest first."""
    unit = "a second" if metric in RATES else "% of requests" if metric == "errors" else "ms"
    rows = frame.with_columns(verdict=pl.col("verdict").fill_null(UNJUDGED))
    shown = [word for word in [*WORDS, UNJUDGED] if word in rows["verdict"].to_list()]
    colour = alt.Color("verdict:N", title="the night was").scale(
        domain=shown, range=[[*RANGE, QUIET][[*WORDS, UNJUDGED].index(word)] for word in shown]
    )
    x = alt.X("night:T", title="night (UTC)").scale(type="utc", padding=16)
    x = x.axis(grid=False, labelOverlap=True, format=CLOCK)
    y = alt.Y("value:Q", title=f"{metric_words(metric)} ({unit})", scale=_room(frame, beside))
    tooltip = [
        alt.Tooltip("night:N", title="night"),
        alt.Tooltip("value:Q", title=unit, format=",.2f"),
        alt.Tooltip("lower:Q", title="from", format=",.2f"),
        alt.Tooltip("upper:Q", title="to", format=",.2f"),
        alt.Tooltip("verdict:N", title="the night was"),
        alt.Tooltip("baseline:N", title="in the baseline"),
    ]
    base = alt.Chart(rows, width=WIDTH, height=height)
    points = {"x": x, "y": y, "color": colour, "tooltip": tooltip}
    layers = [*_behind(beside), base.mark_line(color=QUIET, strokeWidth=1).encode(x=x, y=y)]
    # A layer without a row has no extent, which a browser's console complains of.
    if rows["lower"].count():
        bars = base.mark_rule(strokeWidth=1.5, opacity=0.7)
        layers.append(bars.encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q", color=colour))
    if rows["baseline"].any():
        inside = base.transform_filter("datum.baseline")
        layers.append(inside.mark_point(filled=True, size=42, opacity=1).encode(**points))
    if not rows["baseline"].all():
        outside = base.transform_filter("!datum.baseline")
        layers.append(outside.mark_point(size=42, strokeWidth=1.8, opacity=1).encode(**points))
    return alt.layer(*layers).properties(title=wrapped(_title(frame, metric, where, beside)))


def _room(frame: pl.DataFrame, beside: Beside) -> alt.Scale:
    """Two per cent of the number at least, or moves that are nothing would look like much."""
    drawn = [frame[column] for column in ("value", "lower", "upper")] + [beside.anchors[end] for end in ("low", "high")]
    low, high = ends(pl.concat([one.cast(pl.Float64) for one in drawn]))
    middle = (low + high) / 2
    if high - low >= LEAST * middle:
        return alt.Scale(zero=False, nice=True)
    return alt.Scale(zero=False, nice=True, domain=[middle * (1 - LEAST / 2), middle * (1 + LEAST / 2)])


def _behind(beside: Beside) -> list[alt.Chart]:
    """Bands before lines before labels, each only where there is something."""
    layers: list[alt.Chart] = []
    if beside.incidents.height:
        band = alt.Chart(beside.incidents)
        layers += [
            band.mark_rect(color=BAD, opacity=0.13).encode(x="from:T", x2="to:T"),
            band.mark_text(align="left", baseline="top", dx=3, dy=3).encode(x="from:T", y=alt.value(0), text="label:N"),
        ]
    if beside.anchors.height:
        anchor = alt.Chart(beside.anchors)
        layers += [
            anchor.mark_rect(color=QUIET, opacity=0.22).encode(x="from:T", x2="to:T", y="low:Q", y2="high:Q"),
            anchor.mark_rule(color=QUIET, strokeWidth=1.5).encode(x="from:T", x2="to:T", y="centre:Q"),
        ]
    for marks, hue, dash, dy in ((beside.segments, QUIET, [2, 3], -4), (beside.changes, CHANGED, [6, 4], -16)):
        if marks.height:
            at = alt.Chart(marks)
            layers += [
                at.mark_rule(color=hue, strokeDash=dash, strokeWidth=1.5).encode(x="when:T"),
                at.mark_text(align="left", baseline="bottom", dx=3, dy=dy).encode(
                    x="when:T", y=alt.value("height"), text="label:N"
                ),
            ]
    return layers


def _title(frame: pl.DataFrame, metric: str, where: str, beside: Beside) -> str:
    """The last night against the baseline of its segment, and the last dated change."""
    scale = 1.0 if metric in RATES else 1e-2 if metric == "errors" else 1e-3
    last = frame.row(-1, named=True)
    text = f"{metric_words(metric)} {where}: {value_words(metric, last['value'] * scale)} on {last['night'][:10]}"
    anchors = beside.anchors.filter(pl.col("to") >= last["night"]) if beside.anchors.height else beside.anchors
    if anchors.height:
        anchor = anchors.row(-1, named=True)
        moved = signed(last["value"] / anchor["centre"] - 1)
        held = f"{value_words(metric, anchor['centre'] * scale)} ({count(anchor['nights'], 'night')})"
        text += f", {moved} % from its baseline of {held}"
    elif frame.height > 1:
        text += f", no baseline yet ({count(frame.height, 'night')})"
    if beside.changes.height:
        change = beside.changes.row(-1, named=True)
        text += f"; last changed on {change['when'][:10]} ({change['label']})"
    return text
