"""The sustainable rate and the rates that were tried, in words and as rows: page, terminal, Markdown and log alike."""

from dataclasses import dataclass, replace

from storage.records import RateProbe, Sustained
from tasks.charts.words import NONE, count, estimate_words, ms, number, share
from tasks.report.view import RunView

LIMITS = {
    "capacity": "its capacity",
    "quota": "its quota (429)",
    "errors": "failures",
    "slo": "an objective",
    "budget": "the budget",
    "generator": "gatebench itself",
}
SHORT = {
    "none": "kept up",
    "capacity": "fell behind",
    "quota": "rate-limited",
    "errors": "failures",
    "slo": "too slow",
    "budget": "cut short",
    "generator": "our own limit",
}


@dataclass(frozen=True)
class RateRow:
    """One rate that was tried; `word`: kept up, or what did not hold; `kept` None: says nothing of the target."""

    offered: str
    finished: str
    growth: str
    p95: str
    failed: str
    word: str
    why: str
    kept: bool | None


def sustained_words(found: Sustained) -> str:
    """`770/s [762, 781], twice; above it: its capacity`, or `at least …`."""
    rate = found.rate_rps
    if rate is None:
        return f"none of the {count(len(found.probes), 'rate')} tried: {found.why}"
    said = estimate_words("throughput", replace(rate, at_least=False))
    times = "twice" if found.confirmed else "once"
    if not found.reached:
        if found.limited_by == "none":
            return f"at least {said}, {times}: {found.why}"
        return f"at least {said}, {times}: ended by {LIMITS[found.limited_by]}"
    return f"{said}, kept up with {times}; limited by {LIMITS[found.limited_by]}"


def probe_words(probe: RateProbe) -> str:
    """`812/s: kept up, p95 84.0 ms`."""
    p95 = "" if probe.latency_p95_s is None else f", p95 {ms(probe.latency_p95_s)}"
    return f"{number(probe.rate_rps)}/s: {probe.why}{p95}"


def rate_rows(found: Sustained) -> list[RateRow]:
    """From the lowest rate to the highest."""
    return [
        RateRow(
            f"{number(p.rate_rps)}/s",
            f"{number(p.achieved_rps)}/s",
            f"{max(0.0, p.growth) * 1e3:.1f} ms/s",
            NONE if p.latency_p95_s is None else ms(p.latency_p95_s),
            share(p.errors),
            SHORT[p.limit],
            p.why,
            p.sustained,
        )
        for p in sorted(found.probes, key=lambda p: (p.rate_rps, p.step))
    ]


@dataclass(frozen=True)
class RateTable:
    """The rates tried against one target; `words`: what they say, as a sentence without its full stop."""

    target: str
    words: str
    rows: list[RateRow]


def rate_tables(view: RunView) -> list[RateTable]:
    """One a target for which rates were tried."""
    several = len(view.sustained) > 1
    return [
        RateTable(s.target, f"{s.target + ': s' if several else 'S'}ustains {sustained_words(s)}", rate_rows(s))
        for s in view.sustained
    ]


def sustained_lines(view: RunView) -> list[tuple[str, str]]:
    """(name, words) of each target."""
    several = len(view.sustained) > 1
    return [(f"sustains {s.target}" if several else "sustains", sustained_words(s)) for s in view.sustained]
