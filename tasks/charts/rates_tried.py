"""The rates that a search for the ceiling tried: what each took, which were kept up with, and where the answer lies."""

from collections.abc import Sequence
from typing import Literal

import altair as alt
import polars as pl

from storage.records import Slo, Sustained
from tasks.charts.theme import BAD, GOOD, QUIET, WIDTH, Drawing, log_scale, wrapped
from tasks.charts.words import number

HEIGHT = 280
WORDS = {True: "kept up", False: "too much", None: "not known"}
COLOURS = {"kept up": GOOD, "too much": BAD, "not known": QUIET}
SHAPES = {"kept up": "circle", "too much": "cross", "not known": "square"}


def frame_of(found: Sustained) -> pl.DataFrame:
    """rate, finished (a second), p95_ms, word: one row a rate that has a latency, from the lowest to the highest."""
    rows = [
        (p.rate_rps, p.achieved_rps, p.latency_p95_s * 1e3, WORDS[p.sustained])
        for p in sorted(found.probes, key=lambda p: (p.rate_rps, p.step))
        if p.latency_p95_s is not None
    ]
    schema = {"rate": pl.Float64, "finished": pl.Float64, "p95_ms": pl.Float64, "word": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def rates_tried(frame: pl.DataFrame, found: Sustained) -> Drawing:
    """`frame`: of `frame_of`."""
    slos = [slo for slo in found.objectives if slo.quantity == "latency" and slo.stat == "p95"]
    words = [word for word in COLOURS if word in frame["word"].to_list()]
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT)
    x = alt.X("rate:Q", title="requests due a second", scale=_room(frame, found))
    limits = [slo.threshold * 1e3 for slo in slos]
    y = alt.Y("p95_ms:Q", title="p95 from when they were due (ms, log)", scale=log_scale([*frame["p95_ms"], *limits]))
    colour = alt.Color(
        "word:N", title=None, sort=words, scale=alt.Scale(domain=words, range=[COLOURS[w] for w in words])
    )
    shape = alt.Shape("word:N", title=None, sort=words, scale=alt.Scale(domain=words, range=[SHAPES[w] for w in words]))
    tooltip = [
        alt.Tooltip("rate:Q", title="due a second", format=",.1f"),
        alt.Tooltip("finished:Q", title="finished a second", format=",.1f"),
        alt.Tooltip("p95_ms:Q", title="p95 (ms)", format=",.1f"),
        alt.Tooltip("word:N", title="result"),
    ]
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, y=y, color=colour, shape=shape, tooltip=tooltip
    )
    return alt.layer(*_answer(found, frame), *_objectives(slos), points).properties(title=wrapped(_title(found)))


def _room(frame: pl.DataFrame, found: Sustained) -> alt.Scale:
    rates = frame["rate"].to_list()
    e = found.rate_rps
    rates += [] if e is None else [end for end in (e.lower, e.point, e.upper) if end is not None]
    low, high = min(rates), max(rates)
    if high / low > 4:
        return alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)
    air = max((high - low) * 0.12, high * 0.02)
    return alt.Scale(domain=[low - air, high + air], nice=False, zero=False)


def _answer(found: Sustained, frame: pl.DataFrame) -> list[alt.Chart]:
    """Its words on the side where there is more room."""
    e = found.rate_rps
    if e is None:
        return []
    at = pl.DataFrame(
        {"rate": [e.point], "low": [e.lower], "high": [e.upper]},
        schema=dict.fromkeys(("rate", "low", "high"), pl.Float64),
    )
    label = f"{'sustains' if found.reached else 'at least'} {number(e.point)}/s"
    below = sum(rate < e.point for rate in frame["rate"])
    side: Literal["left", "right"] = "right" if 2 * below >= frame.height else "left"
    line = alt.Chart(at).mark_rule(strokeDash=[6, 4], color=GOOD, strokeWidth=1.5).encode(x="rate:Q")
    text = alt.Chart(at.with_columns(label=pl.lit(label))).mark_text(align=side, dx=5 if side == "left" else -5, dy=-8)
    layers = [line, text.encode(x="rate:Q", y=alt.value(HEIGHT), text="label:N")]
    if e.lower is not None and e.upper is not None:
        layers.insert(0, alt.Chart(at).mark_rect(color=GOOD, opacity=0.12).encode(x="low:Q", x2="high:Q"))
    return layers


def _objectives(slos: Sequence[Slo]) -> list[alt.Chart]:
    layers = []
    for slo in slos:
        at = alt.Chart(pl.DataFrame({"p95_ms": [slo.threshold * 1e3], "label": [slo.text]}))
        layers.append(at.mark_rule(color=BAD, strokeDash=[6, 4], strokeWidth=1.2).encode(y="p95_ms:Q"))
        layers.append(at.mark_text(align="left", dx=4, dy=-7).encode(x=alt.value(0), y="p95_ms:Q", text="label:N"))
    return layers


def _title(found: Sustained) -> str:
    if found.rate_rps is None:
        return f"None of {len(found.probes)} rates was kept up with"
    rate = number(found.rate_rps.point)
    if not found.reached:
        return f"It keeps up with {rate}/s; where it would not, the search has not found out"
    above = [p.rate_rps for p in found.probes if p.sustained is False and p.rate_rps > found.rate_rps.point]
    lost = min(above, default=None)
    limit = {"capacity": "its answers fall behind", "slo": "an objective is broken", "errors": "requests fail"}
    why = limit.get(found.limited_by, "it is rate-limited")
    return f"It keeps up with {rate}/s" + ("" if lost is None else f"; from {number(lost)}/s on {why}")
