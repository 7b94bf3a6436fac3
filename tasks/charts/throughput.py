"""Throughput against concurrency, with the interval over blocks, the knee, the ceiling and the sustainable rate."""

import altair as alt
import polars as pl

from storage.records import Ceiling, Estimate, Sustained
from tasks.charts.theme import ACCENT, BAD, GOOD, QUIET, WIDTH, Drawing, ends, wrapped
from tasks.charts.words import number

NAMES = {"throughput": "finished", "goodput": "finished inside every objective"}


def throughput(frame: pl.DataFrame, ceiling: Ceiling | None, sustained: Sustained | None = None) -> Drawing:
    """`frame`: level, metric (throughput, goodput), rps, lower, upper, of one target's sweep. `sustained`: what it kept
    up with in an open loop, where that was looked for."""
    rows = frame.with_columns(what=pl.col("metric").replace_strict(NAMES, return_dtype=pl.String))
    kinds = [name for metric, name in NAMES.items() if metric in rows["metric"].to_list()]
    colour = alt.Color("what:N", title=None, scale=alt.Scale(domain=kinds, range=["#3b8bc9", "#e69f00"][: len(kinds)]))
    last = "goodput" if "goodput" in rows["metric"] else "throughput"
    rows = rows.with_columns(knee=(pl.col("level") == _knee(ceiling)) & (pl.col("metric") == last))
    base = alt.Chart(rows.drop("metric"), width=WIDTH, height=280)
    x = _x(rows)
    y = alt.Y(
        "rps:Q", title="requests finished a second", scale=alt.Scale(domain=[0, _top(rows, ceiling, sustained) * 1.1])
    )
    tooltip = [
        alt.Tooltip("level:Q", title="concurrent"),
        alt.Tooltip("what:N", title="counted"),
        alt.Tooltip("rps:Q", title="a second", format=",.1f"),
        alt.Tooltip("lower:Q", title="from", format=",.1f"),
        alt.Tooltip("upper:Q", title="to", format=",.1f"),
    ]
    layers: list[alt.Chart] = [
        base.mark_line().encode(x=x, y=y, color=colour),
        base.mark_rule(strokeWidth=2).encode(x=x, y="lower:Q", y2="upper:Q", color=colour),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip),
    ]
    layers.append(base.transform_filter("datum.knee").mark_point(size=240, color=BAD, strokeWidth=2).encode(x=x, y=y))
    lines = _ceiling(ceiling) if ceiling else []
    lines += _sustained(sustained) if sustained else []
    return alt.layer(*lines, *layers).properties(title=wrapped(_title(frame, ceiling)))


def concurrency_axis(levels: list[int]) -> alt.X:
    """A log axis with a tick at each level that was measured."""
    room = 1.15
    return (
        alt.X("level:Q", title="concurrent requests (log)")
        .scale(type="log", domain=[min(levels) / room, max(levels) * room], nice=False)
        .axis(values=sorted(set(levels)), format=",d", grid=False)
    )


def _top(frame: pl.DataFrame, ceiling: Ceiling | None, sustained: Sustained | None) -> float:
    """The highest thing drawn: a point, or the end of an interval."""
    drawn = pl.concat([frame["rps"], frame["upper"]])
    answers = [] if ceiling is None else [ceiling.throughput_rps]
    answers += [] if sustained is None or sustained.rate_rps is None else [sustained.rate_rps]
    tops = [e.point if e.upper is None else e.upper for e in answers]
    return max(ends(drawn)[1], *tops, 0.0) or 1.0


def _x(frame: pl.DataFrame) -> alt.X:
    return concurrency_axis(frame["level"].to_list())


def _knee(ceiling: Ceiling | None) -> int:
    """The level of the knee; -1, which no level is, where there is none."""
    return -1 if ceiling is None or ceiling.knee is None else ceiling.knee


def _band(e: Estimate, colour: str) -> list[alt.Chart]:
    """Where the interval of an answer lies."""
    if e.lower is None or e.upper is None:
        return []
    at = pl.DataFrame({"lower": [e.lower], "upper": [e.upper]})
    return [alt.Chart(at).mark_rect(color=colour, opacity=0.12).encode(y="lower:Q", y2="upper:Q")]


def _sustained(found: Sustained) -> list[alt.Chart]:
    """Its words below its line, for those of the ceiling stand above theirs."""
    e = found.rate_rps
    if e is None:
        return []
    at = pl.DataFrame(
        {"rps": [e.point], "label": [f"{'sustains' if found.reached else 'sustains at least'} {number(e.point)}/s"]}
    )
    line = alt.Chart(at).mark_rule(strokeDash=[2, 3], color=ACCENT, strokeWidth=1.5).encode(y="rps:Q")
    text = alt.Chart(at).mark_text(align="left", dx=4, dy=10).encode(x=alt.value(0), y="rps:Q", text="label:N")
    return [line, text]


def _ceiling(ceiling: Ceiling) -> list[alt.Chart]:
    e = ceiling.throughput_rps
    word = "ceiling" if ceiling.reached else "at least"
    if ceiling.limited_by == "generator":
        word = "gatebench's own limit"
    at = pl.DataFrame({"rps": [e.point], "label": [f"{word} {number(e.point)}/s"]})
    colour = GOOD if ceiling.reached else BAD if ceiling.limited_by == "generator" else QUIET
    line = alt.Chart(at).mark_rule(strokeDash=[6, 4], color=colour, strokeWidth=1.5).encode(y="rps:Q")
    text = (
        alt.Chart(at)
        .mark_text(align="left", dx=4, dy=-8, fontSize=12)
        .encode(x=alt.value(0), y="rps:Q", text="label:N")
    )
    return [*_band(e, colour), line, text]


def _title(frame: pl.DataFrame, ceiling: Ceiling | None) -> str:
    if ceiling is None:
        best = frame.filter(pl.col("metric") == "throughput").sort("rps", descending=True).row(0, named=True)
        return f"Throughput is highest at {best['level']:,} concurrent: {number(best['rps'])}/s"
    rate, at = number(ceiling.throughput_rps.point), f"{ceiling.concurrency:,} concurrent"
    if ceiling.limited_by == "generator":
        return f"gatebench itself was the limit at {rate}/s: this is not the target's ceiling"
    if not ceiling.reached:
        return f"Throughput still rises at {at}: the ceiling is at least {rate}/s"
    knee = f", the knee is at {ceiling.knee:,}" if ceiling.knee and ceiling.knee != ceiling.concurrency else ""
    limit = "" if ceiling.limited_by in ("none", "capacity") else f", limited by {ceiling.limited_by}"
    return f"Throughput stops rising: {rate}/s at {at} is the ceiling{limit}{knee}"
