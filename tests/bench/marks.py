"""The marks of the instrument, and how they are told. Pure: numbers in, lines out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    key: str
    group: str  # what `--only` names
    text: str
    unit: str
    bar: float
    moonshot: float | None
    at_least: bool = False

    def holds(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


MARKS = (
    Mark("cpu_plain", "cpu", "CPU a request, no stream, to Parquet row / aiohttp loop", "×", 0.45, 0.3),
    Mark("cpu_burst", "cpu", "the same, stream of 32 chunks written at once", "×", 0.7, 0.5),
    Mark("cpu_paced", "cpu", "the same, stream of 32 chunks, each a read of its own", "×", 0.7, 0.5),
    Mark("rps", "cpu", "requests/s of one worker, instant responder / aiohttp loop", "×", 2.5, 4.0, at_least=True),
    Mark("p50", "wrk", "p50 − wrk's, 50 ms responder, 100 concurrent", "ms", 1.0, 0.3),
    Mark("p99", "wrk", "p99 − wrk's there", "ms", 3.0, 1.0),
    Mark("ttft", "ttft", "TTFT p50 − the responder's own, 100 concurrent, 40 chunks", "ms", 2.0, 0.5),
    Mark("lag", "lag", "schedule lag p99, open loop at 500/s", "ms", 1.0, 0.25),
    Mark("rows_peak", "rows", "peak memory of a worker that keeps ten million rows", "MB", 300, 150),
    Mark("rows_growth", "rows", "what of it grew after the first tenth (flat)", "MB", 20, None),
    Mark("rows_gaps", "rows", "peak memory, 300,000 streamed rows of 32 gaps each", "MB", 300, 150),
    Mark("summary", "summary", "all estimates of ten million rows", "s", 10, 3),
    Mark("summary_linear", "summary", "time a row at ten million / at three million (linear)", "×", 1.5, None),
    Mark("summary_gaps", "summary", "all estimates of a million streamed rows, 32 gaps each", "s", 10, 3),
)
GROUPS = (*dict.fromkeys(mark.group for mark in MARKS), "peers")


def verdict(mark: Mark, values: Sequence[float]) -> str:
    """By the median of the runs: `moonshot`, `holds` or `MISSED`."""
    middle = median(values)
    if mark.moonshot is not None and mark.holds(middle, mark.moonshot):
        return "moonshot"
    return "holds" if mark.holds(middle, mark.bar) else "MISSED"


def as_json(found: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {
            "key": mark.key,
            "text": mark.text,
            "unit": mark.unit,
            "bar": mark.bar,
            "moonshot": mark.moonshot,
            "values": list(found[mark.key]),
            "median": median(found[mark.key]),
            "verdict": verdict(mark, found[mark.key]),
        }
        for mark in MARKS
        if mark.key in found
    ]


def table(found: Mapping[str, Sequence[float]], skipped: Mapping[str, str]) -> list[str]:
    """A line a mark that was measured, as Markdown, and a line for each group that was not."""
    lines = ["| mark | median (min–max) | bar | moonshot | |", "|---|---|---|---|---|"]
    for mark in MARKS:
        if mark.key in found:
            values, sign = found[mark.key], "≥" if mark.at_least else "≤"
            spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
            moonshot = "–" if mark.moonshot is None else f"{sign} {mark.moonshot:g}"
            lines.append(
                f"| {mark.text} | {number(median(values))}{spread} {mark.unit} | {sign} {mark.bar:g} | {moonshot} "
                f"| {verdict(mark, values)} |"
            )
    return lines + [f"{group}: not measured: {why}" for group, why in skipped.items()]


def number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def clients(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """What each client showed, medians over the rounds: the numbers behind the ratios."""
    lines = []
    for who in dict.fromkeys(name for one in rounds for name in one):
        shown = [one[who] for one in rounds if who in one]
        facts = [
            f"{label} {number(median(one[key] for one in shown))}{unit}"
            for key, label, unit in _FACTS
            if all(key in one for one in shown)
        ]
        lines.append(f"    {who:10} {', '.join(facts)}")
    return lines


_FACTS = (
    ("cpu_us", "CPU", " µs a request"),
    ("rps", "", "/s"),
    ("p50_ms", "p50", " ms"),
    ("p99_ms", "p99", " ms"),
    ("own_p50_ms", "the responder's own p50", " ms"),
    ("ttft_p50_ms", "TTFT p50", " ms"),
    ("in_flight", "really in flight", ""),
    ("lag_p50_ms", "lag p50", " ms"),
    ("lag_p99_ms", "p99", " ms"),
    ("lag_max_ms", "max", " ms"),
)
