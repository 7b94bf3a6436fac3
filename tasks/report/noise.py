"""An A/A study in the terminal (80 columns), as Markdown and as JSON."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.records import Noise, NoisePart, Outlook, Spread, to_json
from tasks.charts.words import NONE, count, metric_words, plain, signed

SOURCES = ("host", "process", "block", "request")
LEGEND = (
    "Standard deviations of one number of a target that does not change, in %. host: what a run has to itself; "
    "process: its worker processes; block, request: of one block. –: in the column to its left."
)
SEEN = (
    "Simulated with these components. The last two columns: slower by so much, a target is called regressed on nine "
    "first nights of ten."
)


def noise_json(noise: Noise) -> dict[str, Any]:
    """`gatebench.aa/1`: the study as it is in the book; standard deviations on the log scale, effects as ratio − 1."""
    return {"schema": "gatebench.aa/1", **to_json(noise), "too_noisy": bool(noise.warnings)}


def title(noise: Noise) -> str:
    """`gw against itself: 6 runs of 2 processes, 5 blocks each`."""
    if noise.source == "history":
        return f"{noise.target}, {count(noise.groups, 'stored night')} of {count(noise.blocks, 'block')}"
    each = f" of {noise.processes} processes" if noise.processes > 1 else ""
    return f"{noise.target} against itself: {count(noise.groups, 'run')}{each}, {count(noise.blocks, 'block')} each"


def verdict_words(noise: Noise) -> str:
    """One sentence: can this setup be judged?"""
    if noise.warnings:
        return f"Too noisy to judge: {'; '.join(noise.warnings)}."
    last = noise.outlook[-1]
    return (
        f"Good enough to judge: after {last.nights} nights of history {alarms_words(last)} of quiet nights are called "
        f"regressed, and {effect(last.visible)} throughout is seen, {effect(last.visible_tail)} of the tail."
    )


def sd(spread: Spread | None) -> str:
    return NONE if spread is None else f"{100 * spread.sd:.1f}"


def night(spread: Spread) -> str:
    if spread.lower is None or spread.upper is None:
        return sd(spread)
    return f"{100 * spread.sd:.1f} [{100 * spread.lower:.1f}, {100 * spread.upper:.1f}]"


def effect(found: float | None) -> str:
    return "more than twice" if found is None else f"{signed(found, 0)} %"


def alarms_words(one: Outlook) -> str:
    return f"{100 * one.false_alarms:.1f} %"


def part_row(part: NoisePart) -> list[str]:
    at = "all levels" if part.level is None else str(part.level)
    spreads = [part.host, part.process, part.block, part.request]
    return [metric_words(part.metric), at, *(sd(spread) for spread in spreads), night(part.night)]


def outlook_row(one: Outlook) -> list[str]:
    alarms = f"{alarms_words(one)} ± {100 * one.error:.1f}"
    return [str(one.nights), alarms, effect(one.visible), effect(one.visible_tail)]


PART_HEADS = ("", "at", *SOURCES, "a night [95 %]")
OUTLOOK_HEADS = ("nights of history", "false alarms", "slower throughout", "p95 and p99 alone")


def render_noise(noise: Noise, console: Console) -> None:
    console.print(Text(plain(title(noise)), style="bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head in PART_HEADS:
        table.add_column(head, justify="left" if head == "" else "right", no_wrap=True)
    before = ""
    for part in noise.parts:
        row = part_row(part)
        table.add_row(*(["", *row[1:]] if row[0] == before else row))
        before = row[0]
    if noise.control is not None:
        row = part_row(noise.control)
        table.add_row("our control", *row[1:], style="dim")
    console.print(table)
    console.print(Text(LEGEND, style="dim"))
    if noise.dropped:
        left = f"{count(noise.dropped, 'block')} left out: not every number could be had"
        console.print(Text(left, style="yellow"))
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head in OUTLOOK_HEADS:
        table.add_column(head, justify="right")
    for one in noise.outlook:
        table.add_row(*outlook_row(one))
    console.print(table)
    console.print(Text(SEEN, style="dim"))
    console.print()
    console.print(Text(verdict_words(noise), style="yellow" if noise.warnings else "green"))
    if noise.advice:
        console.print(Text(f"{noise.advice}."))


def noise_markdown(noise: Noise) -> str:
    """For the page of a Prefect run."""
    lines = [
        f"**{verdict_words(noise)}**",
        "",
        plain(title(noise)),
        "",
        *_table(PART_HEADS, map(part_row, noise.parts)),
    ]
    lines += ["", LEGEND, "", *_table(OUTLOOK_HEADS, map(outlook_row, noise.outlook)), ""]
    return "\n".join([*lines, SEEN, "", f"{noise.advice}." if noise.advice else ""])


def _table(heads: tuple[str, ...], rows: Any) -> list[str]:
    made = [list(heads), ["---"] * len(heads), *rows]
    return [f"| {' | '.join(row)} |" for row in made]
