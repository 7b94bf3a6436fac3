"""Latency against throughput, a point a level: what more throughput costs, where it stops, and what was promised."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from storage.records import Ceiling, Slo
from tasks.charts.theme import ACCENT, BAD, GOOD, QUIET, WIDTH, Drawing, ends, log_scale, wrapped
from tasks.charts.words import ms, number


def tradeoff(frame: pl.DataFrame, stat: str, ceiling: Ceiling | None, slos: Sequence[Slo]) -> Drawing:
    """`frame`: level, rps, rps_lower, rps_upper, ms, lower, upper (of the latency's `stat`), of one target's sweep.
    `slos`: the objectives on that statistic, drawn as lines."""
    rows = frame.sort("level").with_columns(
        name=pl.col("level").cast(pl.String),
        knee=pl.col("level") == (ceiling.knee if ceiling is not None and ceiling.knee is not None else -1),
    )
    limits = [slo.threshold * 1e3 for slo in slos]
    drawn = [v for column in ("ms", "lower", "upper") for v in rows[column].drop_nulls().to_list()]
    x = (
        alt.X("rps:Q", title="requests finished a second")
        .scale(domain=[0, _right(rows, ceiling) * 1.08], nice=False)
        .axis(tickCount=10)
    )
    y = alt.Y("ms:Q", title=f"{stat} latency (ms, log)", scale=log_scale([*drawn, *limits], wide=0.08))
    tooltip = [
        alt.Tooltip("level:Q", title="concurrent"),
        alt.Tooltip("rps:Q", title="a second", format=",.1f"),
        alt.Tooltip("ms:Q", title=f"{stat} (ms)", format=",.2f"),
    ]
    base = alt.Chart(rows, width=WIDTH, height=280)
    layers = [
        *(line for slo in slos for line in _objective(slo)),
        *([] if ceiling is None else _limit(ceiling)),
        base.mark_line(color=ACCENT).encode(x=x, y=y, order="level:Q"),
        base.mark_rule(color=ACCENT, strokeWidth=2).encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q"),
        base.mark_rule(color=ACCENT, strokeWidth=2).encode(x=alt.X("rps_lower:Q"), x2="rps_upper:Q", y=y),
        base.mark_point(filled=True, color=ACCENT, size=70, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        base.transform_filter("datum.knee").mark_point(size=240, color=BAD, strokeWidth=2).encode(x=x, y=y),
        base.mark_text(align="right", dx=-9, dy=-9).encode(x=x, y=y, text="name:N"),
    ]
    return alt.layer(*layers).properties(title=wrapped(_title(rows, stat, ceiling, limits)))


def _right(rows: pl.DataFrame, ceiling: Ceiling | None) -> float:
    drawn = pl.concat([rows["rps"], rows["rps_upper"]])
    e = None if ceiling is None else ceiling.throughput_rps
    return max(ends(drawn)[1], 0.0 if e is None else e.point if e.upper is None else e.upper) or 1.0


def _objective(slo: Slo) -> list[alt.Chart]:
    at = pl.DataFrame({"ms": [slo.threshold * 1e3], "label": [slo.text]})
    line = alt.Chart(at).mark_rule(color=BAD, strokeDash=[6, 4], strokeWidth=1.2).encode(y="ms:Q")
    text = alt.Chart(at).mark_text(align="left", dx=4, dy=-7).encode(x=alt.value(0), y="ms:Q", text="label:N")
    return [line, text]


def _limit(ceiling: Ceiling) -> list[alt.Chart]:
    rate = ceiling.throughput_rps.point
    ours = ceiling.limited_by == "generator"
    word = "gatebench's own limit" if ours else "ceiling" if ceiling.reached else "at least"
    at = pl.DataFrame({"rps": [rate], "label": [f"{word} {number(rate)}/s"]})
    colour = GOOD if ceiling.reached else BAD if ours else QUIET
    line = alt.Chart(at).mark_rule(strokeDash=[6, 4], color=colour, strokeWidth=1.5).encode(x="rps:Q")
    text = alt.Chart(at).mark_text(align="right", dx=-5, dy=-8).encode(x="rps:Q", y=alt.value(280), text="label:N")
    e = ceiling.throughput_rps
    if e.lower is None or e.upper is None:
        return [line, text]
    ends = alt.Chart(pl.DataFrame({"from": [e.lower], "to": [e.upper]}))
    return [ends.mark_rect(color=colour, opacity=0.12).encode(x="from:Q", x2="to:Q"), line, text]


def _title(rows: pl.DataFrame, stat: str, ceiling: Ceiling | None, limits: Sequence[float]) -> str:
    best = rows.sort("rps").row(-1, named=True)
    where = f"at {best['level']:,} concurrent, with {stat} latency at {ms(best['ms'] / 1e3)}"
    text = f"At most {number(best['rps'])}/s, {where}"
    knee = rows.filter(pl.col("knee"))
    if knee.height and knee["level"][0] != best["level"]:
        at = knee.row(0, named=True)
        text = (
            f"Up to the knee at {at['level']:,} concurrent {number(at['rps'])}/s cost {ms(at['ms'] / 1e3)} ({stat}); "
            f"beyond it latency buys little: {ms(best['ms'] / 1e3)} at {number(best['rps'])}/s"
        )
    if limits:
        inside = rows.filter(pl.col("ms") < min(limits))
        most = f"up to {number(ends(inside['rps'])[1])}/s keep" if inside.height else "no level keeps"
        text += f"; {'every level keeps' if inside.height == rows.height else most} the objective"
    return text
