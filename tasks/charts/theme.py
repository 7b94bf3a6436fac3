"""One look for every figure: colour-blind safe, readable on white and on black, and one way out to spec, PNG and SVG.

A page recolours text, axes and grid by its own style sheet; the greys here are for pictures that stand alone.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl
import vl_convert as vlc

Drawing = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart

WIDTH = 640
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
# Okabe and Ito's colours without black and yellow, which vanish on one of the two backgrounds.
COLOURS = ["#3b8bc9", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8f7ad1", "#8c8c8c"]
BAD, GOOD, QUIET, ACCENT = "#d55e00", "#009e73", "#8c8c8c", "#3b8bc9"
OPEN_LOOP = "replay"  # what level 0 is called, unless a run says otherwise

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "title": {"anchor": "start", "fontSize": 14, "fontWeight": 600, "color": "#333333", "offset": 14, "font": FONT},
    "axis": {
        "labelColor": "#666666",
        "titleColor": "#666666",
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": "#e2e2e2",
        "gridOpacity": 0.8,
        "domainColor": "#999999",
        "tickColor": "#999999",
        "labelFontSize": 11,
        "titleFontSize": 11,
    },
    "legend": {
        "orient": "top",
        "labelLimit": 0,
        "labelColor": "#666666",
        "titleColor": "#666666",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "symbolStrokeWidth": 3,
    },
    "header": {
        "labelColor": "#666666",
        "titleColor": "#666666",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
    },
    "text": {"font": FONT, "fontSize": 11, "color": "#666666"},
    "line": {"strokeWidth": 2},
    "point": {"size": 45},
}


def level_words(level: int, open_loop: str = OPEN_LOOP) -> str:
    """A level as a legend names it; level 0 is an open loop."""
    return open_loop if level == 0 else f"{level:,}"


def where_words(level: int, open_loop: str = OPEN_LOOP) -> str:
    """`at 10 concurrent`, `in the replay`."""
    return f"in the {open_loop}" if level == 0 else f"at {level:,} concurrent"


def named(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> pl.DataFrame:
    """The same rows with `at`: the level as a word, for legends and panels."""
    names = {level: level_words(level, open_loop) for level in frame["level"].unique()}
    return frame.with_columns(at=pl.col("level").replace_strict(names, return_dtype=pl.String))


def order(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> list[str]:
    """Names of the levels, rising, the open loop last."""
    return [level_words(level, open_loop) for level in sorted(frame["level"].unique(), key=lambda n: (n == 0, n))]


def level_colour(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> alt.Color:
    """One colour a level, in the order of the levels, the same in every figure of a run."""
    names = order(frame, open_loop)
    return alt.Color(
        "at:N", title="concurrent requests", sort=names, scale=alt.Scale(domain=names, range=_cycled(len(names)))
    )


def level_panels(frame: pl.DataFrame, open_loop: str = OPEN_LOOP) -> alt.Row:
    """One panel a level, named at its left."""
    row = alt.Row("at:N", sort=order(frame, open_loop), title="concurrent requests")
    return row.header(labelAngle=0, labelAlign="left", labelPadding=6)


def wrapped(text: str) -> list[str]:
    """A finding as the lines of a title: Vega does not break lines by itself."""
    return textwrap.wrap(text, 80) or [""]


def finding(chart: Drawing) -> str:
    """The title of a figure in one line."""
    title = chart.to_dict().get("title", "")
    text = title.get("text", "") if isinstance(title, dict) else title
    return " ".join(text) if isinstance(text, list) else str(text)


def to_spec(chart: Drawing, *, title: bool = True, background: str = "transparent") -> dict[str, Any]:
    """The chart as Vega-Lite with our look; without its title where a page sets the finding as a heading."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("$schema", None)
    if not title:
        spec.pop("title", None)
    spec["config"] = {**CONFIG, "background": background}
    return spec


def to_png(chart: Drawing, *, scale: float = 1.0) -> bytes:
    """A picture on white, for places that cannot draw."""
    png: bytes = vlc.vegalite_to_png(to_spec(chart, background="white"), scale=scale)
    return png


def to_svg(chart: Drawing) -> str:
    svg: str = vlc.vegalite_to_svg(to_spec(chart))
    return svg


def log_scale(values: Sequence[float], *, wide: float = 0.05) -> alt.Scale:
    """A log axis that holds all values with a little air; zero and less are left out. One value alone gets a decade's
    tenth on each side, so that the axis is not a point."""
    positive = [value for value in values if value > 0]
    if not positive:
        return alt.Scale(type="linear")
    low, high = min(positive), max(positive)
    room = max((high / low) ** wide, 1.12)
    return alt.Scale(type="log", domain=[low / room, high * room], nice=False, clamp=True)


def ends(values: pl.Series) -> tuple[float, float]:
    """(lowest, highest) of a column that has at least one value."""
    numbers = [float(value) for value in values.drop_nulls().to_list()]
    return min(numbers), max(numbers)


def _cycled(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]
