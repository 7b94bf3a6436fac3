"""A run as one Markdown artifact: the verdict in words, what was measured, where the page lies, what changed, three
pictures, a table a target. Prefect shows no picture from a path and refuses an artifact above 1.5 MB, so the pictures
are small and inside.
"""

import base64
from collections.abc import Iterable
from shlex import quote

from tasks.charts.theme import Drawing, finding, to_png
from tasks.charts.words import NONE, plain
from tasks.report.ceiling import rate_tables, sustained_lines
from tasks.report.figures import (
    latency_figure,
    nights_figure,
    pair_figures,
    throughput_figure,
    together_figure,
    tradeoff_figure,
)
from tasks.report.gateway import COLUMNS, gateway_lines, gateway_rows, present_columns
from tasks.report.headline import ceiling_words, headline
from tasks.report.instrument import blind_lines, instrument_words
from tasks.report.money import cost_words, model_rows
from tasks.report.record import request_words, show_command
from tasks.report.resumed import resumed_lines
from tasks.report.side_by_side import OVERHEAD, pair_tables, side_rows
from tasks.report.tables import (
    ChangeRow,
    by_load,
    change_rows,
    estimate_rows,
    slo_rows,
)
from tasks.report.truth import truth_lines
from tasks.report.view import RunView, changed, targets

PICTURES = 3
CHANGES = 8
CONFIRMED = "confirmed"

__all__ = ["estimate_rows", "render_error", "render_markdown", "render_place"]


def render_markdown(view: RunView, charts: bool = True) -> str:
    """Under 1 MB. `charts` False leaves out the pictures, for places that show none."""
    parts = [f"## {_safe(headline(view))}", _what(view), _where(view)]
    moved = change_rows(view, changed(view))
    if moved:
        parts += ["### What changed", _changes(moved, several=len(targets(view)) > 1)]
    if charts:
        parts += [_picture(chart) for chart in _charts(view)]
    parts += _pairs(view)
    objectives = slo_rows(view)
    if objectives:
        rows = [[r.text, r.word, r.measured, f"{r.target} {r.place}"] for r in objectives]
        parts += ["### Objectives", _table(["objective", "result", "measured", "where"], rows)]
    for target in targets(view):
        heads, rows = by_load(view, target)
        if len(heads) > 1:
            parts += [f"### Measured: {_safe(target)}", _table(heads, rows)]
    parts += [_rates(view), _facts(view), _gateway(view), _cost(view)]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_place(view: RunView) -> str:
    """Where the page lies. Browsers follow no link from a web page to a file, so it is said how to get there."""
    run = view.run
    host = _safe(str(run.environment.get("host", "the worker's machine")))
    lines = [
        f"The full report is a file on **{host}**. Browsers follow no link from here to it.",
        f"`{run.report}`",
        f"- There: open that path in a browser, or `gatebench report {run.run_id} --open`",
        f"- From elsewhere: `scp {host}:{quote(str(run.report))} .`",
        "It is one page with everything in it, and needs no network.",
    ]
    return "\n\n".join([*lines[:2], "\n".join(lines[2:4]), lines[4]]) + "\n"


def render_error(name: str, said: str) -> str:
    """A run that ended without a result."""
    return f"## gatebench {_safe(name)}: no result\n\n{_safe(said)}\n"


def _pairs(view: RunView) -> list[str]:
    parts = []
    for table in pair_tables(view):
        judged = table.kind != OVERHEAD
        heads = ["number", table.baseline, table.candidate, "change", "verdict" if judged else "by"]
        rows = [
            [
                f"{r.what} {r.place}",
                r.baseline,
                r.candidate,
                r.by if judged and r.effect == NONE else r.effect,  # of error shares there is no ratio
                r.verdict if judged else r.by,
            ]
            for r in table.leading
        ]
        parts += [f"### {_safe(table.title)}", _table(heads, rows)]
        parts += [_reasons((f"{r.what} {r.place}", r.verdict, r.reason) for r in table.leading)] if judged else []
    if parts:
        heads = ["target", "measured", "failed", "output tokens an answer", "dollars", "per 1,000 requests"]
        sides = [[r.target, r.requests, r.failed, r.output, r.usd, r.per_thousand] for r in side_rows(view)]
        parts += ["### What the answers took", _table(*_told(heads, sides))]
    return parts


def _gateway(view: RunView) -> str:
    parts = []
    for target in targets(view):
        rows = gateway_rows(view, target)
        columns = present_columns(rows)
        if rows:
            heads = ["load", "requests", *(COLUMNS[column] for column in columns)]
            cells = [[row.place, f"{row.requests:,}", *(row.cells[column] for column in columns)] for row in rows]
            parts += [f"### What the gateway did: {_safe(target)}", _table(heads, cells)]
    return "\n\n".join(parts)


def _rates(view: RunView) -> str:
    parts = []
    heads = ["due", "finished", "p95 from due", "backlog", "failed", "result"]
    for table in rate_tables(view):
        rows = [[r.offered, r.finished, r.p95, r.growth, r.failed, r.word] for r in table.rows]
        parts += [f"### The rate it keeps up with\n\n{_safe(table.words)}.", _table(heads, rows)]
    return "\n\n".join(parts)


def _cost(view: RunView) -> str:
    rows = [
        [r.target, r.what, r.requests, r.tokens_in, r.tokens_out, r.usd, r.per_thousand, r.wasted]
        for r in model_rows(view)
    ]
    heads = ["target", "model", "requests", "tokens in", "tokens out", "dollars", "per 1,000", "wasted"]
    return "### Cost\n\n" + _table(*_told(heads, rows)) if rows else ""


def _what(view: RunView) -> str:
    """`nightly of plan p: gw (model m at http://…); 4,000 requests measured, 0 % failed.`"""
    asked = {leg.target: f"model {leg.model} at {leg.url}" for leg in view.legs}
    named = [f"**{_safe(name)}**" + (f" ({_safe(asked[name])})" if name in asked else "") for name in targets(view)]
    requests = request_words(view)
    said = f"{_safe(view.run.flow)} of plan {_safe(view.run.plan_name)}: {', '.join(named)}"
    return f"{said}; {requests}." if requests else f"{said}."


def _facts(view: RunView) -> str:
    lines = [f"- ceiling of {_safe(c.target)}: {ceiling_words(c)}" for c in view.ceilings if not view.comparisons]
    lines += [f"- {_safe(name)}: {_safe(words)}" for name, words in sustained_lines(view)]
    cost = cost_words(view)
    if cost:
        lines.append(f"- cost: {_safe(cost)}")
    lines += [f"- gateway: {_safe(line)}" for line in gateway_lines(view)]
    instrument = instrument_words(view)
    if instrument:
        lines.append(f"- instrument: {instrument}")
    lines += [f"- instrument: {_safe(line)}" for line in blind_lines(view)]
    lines += [f"- {_safe(line)}" for line in (*resumed_lines(view.run), *truth_lines(view))]
    lines += [f"- alert that did not get through: {_safe(line)}" for line in view.undelivered]
    if view.baseline_runs:
        lines.append(f"- compared with {len(view.baseline_runs)} runs")
    return "### Beside it\n\n" + "\n".join(lines) if lines else ""


def _changes(rows: list[ChangeRow], *, several: bool) -> str:
    shown, left = rows[:CHANGES], len(rows) - CHANGES
    cells = [
        [f"{row.target}: {row.what}" if several else row.what, row.tonight, row.effect, row.by, row.verdict]
        for row in shown
    ]
    table = _table(["number", "tonight", "change", "by", "verdict"], cells)
    reasons = _reasons((row[0], one.verdict, one.reason) for row, one in zip(cells, shown, strict=True))
    more = f"The report has {left} more." if left > 0 else ""
    return "\n\n".join(part for part in (table, reasons, more) if part)


def _reasons(rows: Iterable[tuple[str, str, str]]) -> str:
    """Beneath a table of (number, verdict, reason): Prefect's page wraps no cell, and cuts a table that is wider than
    it. What regressed or improved was always seen twice."""
    told: dict[tuple[str, str], list[str]] = {}
    for what, verdict, reason in rows:
        if reason not in ("", CONFIRMED):
            told.setdefault((verdict, reason), []).append(what)
    lines = (f"{verdict}, {reason}: {', '.join(numbers)}" for (verdict, reason), numbers in told.items())
    return "\n".join(f"- {_safe(line)}" for line in lines)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(_safe(cell) for cell in row) + " |" for row in [heads, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def _told(heads: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that say nothing in any row."""
    kept = [k for k in range(len(heads)) if any(row[k] not in ("", NONE) for row in rows)]
    return [heads[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _charts(view: RunView) -> list[Drawing]:
    found = pair_figures(view) + together_figure(view)
    for of in (nights_figure, throughput_figure, latency_figure, tradeoff_figure):
        found += [figure for index, target in enumerate(targets(view)) for figure in of(view, target, index)]
    return [figure.chart for figure in found[:PICTURES]]


def _picture(chart: Drawing) -> str:
    words = _safe(finding(chart)).replace("[", "(").replace("]", ")")
    return f"![{words}](data:image/png;base64,{base64.b64encode(to_png(chart)).decode()})"


def _where(view: RunView) -> str:
    lines = [f"The whole report: `{view.run.report}` (absolute path)"] if view.run.report else []
    return "\n\n".join([*lines, f"In a terminal: `{show_command(view.run)}`"])


def _safe(text: str) -> str:
    """Text that came from outside cannot open a tag, a cell, a code span, a link or a picture."""
    flat = plain(text)
    for character, word in (
        *(("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;")),
        *(("|", "\\|"), ("`", "'"), ("](", "]&#40;")),
    ):
        flat = flat.replace(character, word)
    return flat
