"""A run in a terminal: the verdict, what changed, a table a target, the ceiling, whether to trust it, where to look."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from storage.records import Word
from tasks.charts.words import metric_words, place_words, plain, share
from tasks.report.ceiling import rate_tables, sustained_lines
from tasks.report.gateway import gateway_lines
from tasks.report.headline import ceiling_words, colour, due_words, headline, incident_lines
from tasks.report.instrument import blind_lines, instrument_words
from tasks.report.money import cost_words
from tasks.report.record import request_words, show_command
from tasks.report.resumed import resumed_lines
from tasks.report.tables import Number, change_rows, level_rows, present, slo_rows
from tasks.report.terminal_pairs import render_pairs
from tasks.report.truth import truth_lines
from tasks.report.view import RunView, changed, levels, targets, validity

STYLES = {"bad": "bold red", "warn": "bold yellow", "good": "bold green", "quiet": "bold cyan"}
WORD_STYLES = {
    Word.REGRESSED.value: "red",
    Word.IMPROVED.value: "green",
    "broken": "red",
    "kept": "green",
    "valid": "green",
    "suspect": "yellow",
    "invalid": "red",
}
NARROW = ("latency_p50", "latency_p95", "latency_p99", "throughput")
WIDE = ("latency_p50", "latency_p90", "latency_p95", "latency_p99", "ttft_p95", "throughput", "goodput")
RATES = ("finished", "p95 from due", "backlog", "failed", "result")
MOST_CHANGES = 12
WIDTH = 110  # from which on there is room for the instrument's own columns and more metrics


def render_terminal(view: RunView, console: Console) -> None:
    """Prints to the console as it is: 80 columns, no colour and plain CI are the console's own business."""
    console.print(Text(plain(headline(view)), style=STYLES[colour(view)]))
    console.print()
    _changes(view, console)
    _objectives(view, console)
    if view.comparisons:
        render_pairs(view, console)
    metrics = WIDE if console.width >= WIDTH else NARROW
    for target in [] if view.comparisons else targets(view):
        _levels(view, target, metrics, console)
    _rates(view, console)
    _facts(view, console)


def _changes(view: RunView, console: Console) -> None:
    moved = changed(view)
    if not moved:
        return
    table = _grid("changed", "verdict", "change", "by", "nights")
    for row in change_rows(view, moved[:MOST_CHANGES]):
        what = f"{row.target}: {row.what}" if len(targets(view)) > 1 else row.what
        table.add_row(Text(what), _word(row.verdict), row.effect, row.by, str(row.nights))
    console.print(table)
    if len(moved) > MOST_CHANGES:
        console.print(Text(f"and {len(moved) - MOST_CHANGES} more", style="dim"))
    console.print()


def _objectives(view: RunView, console: Console) -> None:
    if not view.slo_results:
        return
    table = _grid("objective", "result", "measured", "where")
    for row in slo_rows(view):
        table.add_row(Text(row.text), _word(row.word), row.measured, Text(f"{row.target} {row.place}"))
    console.print(table)
    console.print()


def _levels(view: RunView, target: str, metrics: tuple[str, ...], console: Console) -> None:
    columns = present(view, target, metrics)
    if not columns:
        return
    if len(targets(view)) > 1:
        console.print(Text(plain(target), style="bold"))
    beside = ["floor", "used"] if console.width >= WIDTH else []
    heads = (metric_words(metric).removesuffix(" latency") for metric in columns)
    table = _grid("level", *heads, "failed", *beside, "validity")
    rows = level_rows(view, target, columns)
    for row in rows:
        numbers = [_number(n) for n in row.numbers]
        table.add_row(
            f"{row.level:,}" if row.level else row.place,
            *numbers,
            share(row.failed / row.requests) if row.requests else "–",
            *([_number(row.floor), Text(row.used.split(" of ", maxsplit=1)[0])] if beside else []),
            _word(row.validity),
        )
    console.print(table)
    reasons = {reason for row in rows for reason in row.reasons}
    for series, level in levels(view, target):
        due = due_words(view, target, series, level)
        if due is not None:
            reasons.add(f"p95 {place_words(series, level)}: {due}")
    for reason in sorted(reasons):
        console.print(Padding(Text(plain(reason), style="yellow"), (0, 0, 0, 2)))
    console.print()


def _rates(view: RunView, console: Console) -> None:
    for tried in rate_tables(view):
        table = _grid("due" if len(targets(view)) == 1 else f"{plain(tried.target)}: due", *RATES)
        for row in tried.rows:
            style = {True: "green", False: "red", None: "yellow"}[row.kept]
            table.add_row(row.offered, row.finished, row.p95, row.growth, row.failed, Text(row.word, style=style))
        console.print(table)
        console.print()


def _facts(view: RunView, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    several = len(targets(view)) > 1
    for ceiling in [] if view.comparisons else view.ceilings:
        table.add_row(f"ceiling {ceiling.target}" if several else "ceiling", Text(ceiling_words(ceiling)))
    for name, words in sustained_lines(view):
        table.add_row(name, Text(plain(words)))
    requests = request_words(view)
    if requests is not None:
        table.add_row("requests", requests)
    cost = cost_words(view)
    if cost is not None:
        table.add_row("cost", Text(cost))
    for line in gateway_lines(view):
        table.add_row("gateway", Text(plain(line)))
    table.add_row("instrument", instrument_words(view) or "not calibrated")
    for line in blind_lines(view):
        table.add_row("", Text(plain(line), style="yellow"))
    for line in resumed_lines(view.run):
        table.add_row("resumed", Text(plain(line.removeprefix("resumed "))))
    for line in truth_lines(view):
        table.add_row("fidelity", Text(plain(line)))
    for line in incident_lines(view):
        table.add_row("incident", Text(plain(line)))
    for line in view.undelivered:
        table.add_row("alert", Text(plain(f"did not get through: {line}"), style="yellow"))
    worst, _ = validity([leg for leg in view.legs if leg.target in targets(view)])
    table.add_row("validity", _word(worst))
    table.add_row("show", Text(show_command(view.run)))
    console.print(table)
    if view.run.report:  # never folded, so that it can be copied
        console.print(Text.assemble(("report      ", "dim"), view.run.report), soft_wrap=True)


def _grid(first: str, *heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(Text(first), overflow="fold")
    for head in heads:
        words = head in ("verdict", "result", "validity", "where")
        table.add_column(head, justify="left" if words else "right", overflow="fold", no_wrap=words and head != "where")
    return table


def _number(n: Number) -> Text:
    """The value, its interval below it: one row stays under 80 columns."""
    return Text.assemble(n.value, ("\n" + n.interval, "dim")) if n.interval else Text(n.value)


def _word(word: str) -> Text:
    return Text(word, style=WORD_STYLES.get(word, ""))
