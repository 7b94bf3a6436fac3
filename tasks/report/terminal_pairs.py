"""Targets side by side in the terminal: a table a pair, in 80 columns."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.charts.words import plain
from tasks.report.side_by_side import OVERHEAD, PairRow, PairTable, pair_tables, side_rows
from tasks.report.view import RunView

STYLES = {"regressed": "red", "improved": "green", "inconclusive": "yellow"}
NAMED = 3  # rows that have the same reason; of more only their number is told
WIDE = 110  # from which on there is room for the change in the metric's own unit beside a verdict


def render_pairs(view: RunView, console: Console) -> None:
    """What leads of each pair, level by level, and what the answers of each target took."""
    for table in pair_tables(view):
        console.print(Text(plain(table.title), style="bold"))
        console.print(_pair(table, console.width >= WIDE))
        for words in reasons(table.leading):
            console.print(Text(f"  {plain(words)}", style="yellow"))
        console.print()
    _sides(view, console)


def reasons(rows: Sequence[PairRow]) -> list[str]:
    """Why verdicts are what they are, each reason once, and of which rows where it is not of all."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            said.setdefault(row.reason, []).append(f"{row.what} {row.place}")
    found = []
    for reason, of in said.items():
        which = ", ".join(of) if len(of) <= NAMED else f"{len(of)} of {len(rows)} numbers"
        found.append(reason if len(of) == len(rows) else f"{which}: {reason}")
    return found


def _pair(table: PairTable, wide: bool) -> Table:
    overhead = table.kind == OVERHEAD
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("", no_wrap=True)
    heads = [table.baseline, table.candidate, "change", *(["by"] if overhead or wide else [])]
    for head in heads:
        grid.add_column(Text(plain(head)), justify="right", overflow="fold", no_wrap=head in ("change", "by"))
    if not overhead:
        grid.add_column("verdict", no_wrap=True)
    place = ""
    for row in table.leading:
        if row.place != place:
            place = row.place
            grid.add_row(Text(place, style="dim"))
        grid.add_row(*_cells(row, overhead, wide))
    return grid


def _cells(row: PairRow, overhead: bool, wide: bool) -> list[str | Text]:
    cells: list[str | Text] = [f"  {row.what}", row.baseline, row.candidate]
    if wide:
        cells += [row.effect, row.by]
    elif overhead:  # the interval stands once, in the metric's own unit where it has one
        cells += [row.effect.split(" [")[0], row.effect if row.by == "–" else row.by]
    else:
        cells.append(row.by if row.effect == "–" else row.effect)
    return cells if overhead else [*cells, Text(row.verdict, style=STYLES.get(row.verdict, ""))]


def _sides(view: RunView, console: Console) -> None:
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("target", overflow="fold")
    for head in ("measured", "failed", "output tokens", "dollars", "per 1,000"):
        grid.add_column(head, justify="right", overflow="fold")
    for row in side_rows(view):
        grid.add_row(Text(plain(row.target)), row.requests, row.failed, row.output, row.usd, row.per_thousand)
    console.print(grid)
    console.print()
