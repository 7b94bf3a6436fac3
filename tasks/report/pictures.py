"""Figures on a page that opens offline: their specs as data, Vega once, and the numbers behind each as a table."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.charts.theme import Drawing, finding, to_spec
from tasks.report import vega

HERE = Path(__file__).parent
TABLE_ROWS = 400  # a table behind a chart is for reading; the rows themselves are in the sample log


@dataclass(frozen=True)
class Figure:
    """`name` is unique on a page; `note` says how to read it; `table`: the numbers that are drawn."""

    name: str
    title: str
    note: str
    chart: Drawing
    table: pl.DataFrame


def figure(name: str, note: str, chart: Drawing, table: pl.DataFrame) -> Figure:
    """Its title is the finding of the chart."""
    return Figure(name, finding(chart), note, chart, table)


def environment() -> Environment:
    """For the templates beside this file; everything that is not a template's own is escaped."""
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def shown(drawn: Sequence[Figure]) -> dict[str, Any]:
    """What `pictures.html.j2` and `draw.html.j2` need: figures, specs, vega."""
    return {
        "figures": [{"name": f.name, "title": f.title, "note": f.note, "table": _table(f.table)} for f in drawn],
        "specs": embedded({figure.name: to_spec(figure.chart, title=False) for figure in drawn}),
        "vega": vega.script(vega.folder()),
    }


def embedded(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, whatever strings it holds."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped just above


def _table(frame: pl.DataFrame) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in frame.head(TABLE_ROWS).iter_rows()]
    return {"columns": frame.columns, "rows": rows, "left": max(frame.height - TABLE_ROWS, 0)}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.5g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: a chart leaves such a point out. Six digits are more than a picture shows."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
