"""Was the instrument on time? Schedule lag of every leg against the limits beyond which it is not believed."""

import altair as alt
import polars as pl

from tasks.charts.theme import BAD, OPEN_LOOP, WIDTH, Drawing, ends, level_colour, log_scale, named, wrapped
from tasks.charts.words import number


def lag(frame: pl.DataFrame, suspect_ms: float | None, invalid_ms: float | None, open_loop: str = OPEN_LOOP) -> Drawing:
    """`frame`: leg (order in which they ran, from 1), level, block, lag_ms (p99 of schedule lag), validity."""
    rows = named(frame, open_loop)
    limits = [(value, word) for value, word in ((suspect_ms, "suspect"), (invalid_ms, "invalid")) if value is not None]
    scale = log_scale([*rows["lag_ms"].to_list(), *(value for value, _ in limits)])
    points = (
        alt.Chart(rows.drop("level"), width=WIDTH, height=220)
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=alt.X("leg:Q", title="leg, in the order they ran")
            .axis(format="d", tickMinStep=1, grid=False)
            .scale(domain=[0.5, frame.height + 0.5], nice=False),
            y=alt.Y("lag_ms:Q", title="schedule lag p99 (ms, log)", scale=scale),
            color=level_colour(frame, open_loop),
            tooltip=[
                alt.Tooltip("leg:Q", title="leg"),
                alt.Tooltip("at:N", title="concurrent"),
                alt.Tooltip("block:Q", title="block"),
                alt.Tooltip("lag_ms:Q", title="lag p99 (ms)", format=",.3f"),
                alt.Tooltip("validity:N", title="validity"),
            ],
        )
    )
    layers: list[alt.Chart] = [points]
    for value, word in limits:
        at = pl.DataFrame({"lag_ms": [value], "label": [f"{word} above {value:g} ms"]})
        layers.append(alt.Chart(at).mark_rule(color=BAD, strokeDash=[6, 4], strokeWidth=1.2).encode(y="lag_ms:Q"))
        text = alt.Chart(at).mark_text(align="left", dx=4, dy=-7)
        layers.append(text.encode(x=alt.value(0), y="lag_ms:Q", text="label:N"))
    return alt.layer(*layers).properties(title=wrapped(_title(frame, invalid_ms)))


def _title(frame: pl.DataFrame, invalid_ms: float | None) -> str:
    worst = ends(frame["lag_ms"])[1]
    said = f"{number(worst)} ms"
    if invalid_ms is None:
        return f"gatebench sent at most {said} late in every leg (p99)"
    if worst <= invalid_ms:
        return f"gatebench was on time: at most {said} late (p99), {invalid_ms:g} ms would be too late"
    late = frame.filter(pl.col("lag_ms") > invalid_ms).height
    return f"gatebench was late in {late} of {frame.height} legs, by up to {said} (p99): those legs are not believed"
