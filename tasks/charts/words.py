"""How a number, a metric and a place are said: the same in charts, pages, terminal and messages. Times in ms."""

import math
from collections.abc import Iterable

from storage.records import Estimate, Series, Slo

METRICS = {
    "throughput": "throughput",
    "goodput": "goodput",
    "output_tokens_per_s": "output tokens/s",
    "errors": "error share",
}
QUANTITIES = {"latency": "latency", "response": "response", "ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}
RATES = frozenset({"throughput", "goodput", "output_tokens_per_s"})
NONE = "–"


def metric_words(metric: str) -> str:
    """`latency_p95` -> `p95 latency`."""
    if metric in METRICS:
        return METRICS[metric]
    quantity, _, stat = metric.partition("_")
    return f"{stat} {QUANTITIES.get(quantity, quantity)}".strip()


def place_words(series: str, level: int | None) -> str:
    """Where a number was measured: `at 10 concurrent`, `over all levels`, `in the replay`, `in the load`."""
    if series == Series.REPLAY:
        return "in the replay"
    if series == Series.STRESS:
        return "in the stress on top of the replay"
    if series == Series.LOAD:
        return "in the load"
    return "over all levels" if level is None else f"at {level} concurrent"


def number(value: float) -> str:
    """Three significant digits, thousands apart, no exponent: 0.31, 4.25, 42.5, 212, 14,000."""
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:,.{digits}f}"


def ms(seconds: float) -> str:
    return f"{number(seconds * 1e3)} ms"


def share(value: float) -> str:
    """0.0042 -> `0.42 %`."""
    percent = value * 100
    return f"{percent:.0f} %" if percent == 0 or percent >= 10 else f"{percent:.2g} %"


def dollars(value: float) -> str:
    """$0, $0.0042, $1.23, $1,234: two significant digits below a cent's worth of sense, cents above."""
    if value == 0:
        return "$0"
    if value < 0.995:
        digits = max(2, 1 - math.floor(math.log10(value)))
        return f"${value:.{digits}f}" if digits <= 8 else f"${value:.1g}"
    return f"${value:,.2f}" if value < 999.5 else f"${value:,.0f}"


def signed(effect: float, digits: int | None = None) -> str:
    """A ratio − 1 in per cent, without the sign for per cent: 0.48 -> `+48`, −0.031 -> `−3.1`."""
    percent = effect * 100
    digits = _digits(percent) if digits is None else digits
    text = f"{abs(percent):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return "0"
    return f"{'−' if percent < 0 else '+'}{text}"


def effect_words(effect: float, lower: float | None, upper: float | None) -> str:
    """`+48 % [+41, +56]`."""
    digits = _digits(effect * 100)
    head = f"{signed(effect, digits)} %"
    if lower is None or upper is None:
        return head
    return f"{head} [{signed(lower, digits)}, {signed(upper, digits)}]"


def as_moved(metric: str, effect: float) -> float:
    """The gate's effect (up is worse) as the change of the metric itself: a throughput that fell has a minus."""
    return 1 / (1 + effect) - 1 if metric in RATES and effect > -1 else effect


def value_words(metric: str, value: float) -> str:
    """A value of a metric with its unit."""
    if metric == "errors":
        return share(value)
    return f"{number(value)}/s" if metric in RATES else ms(value)


def estimate_words(metric: str, estimate: Estimate | None) -> str:
    """`212 ms [201, 224]`; `≥` where the quantile fell on a request that never ended."""
    if estimate is None:
        return NONE
    head = ("≥ " if estimate.at_least else "") + value_words(metric, estimate.point)
    bounds = interval_words(metric, estimate)
    return f"{head} {bounds}" if bounds else head


def interval_words(metric: str, estimate: Estimate) -> str:
    """`[201, 224]` in the unit of `value_words`; empty where the blocks were too few for an interval."""
    if estimate.lower is None or estimate.upper is None:
        return ""
    scale = 100.0 if metric == "errors" else 1.0 if metric in RATES else 1e3
    return f"[{number(estimate.lower * scale)}, {number(estimate.upper * scale)}]"


def slo_words(slo: Slo, point: float | None) -> str:
    """The objective as it was written, and what was measured."""
    if point is None:
        return f"{slo.text}: nothing to judge it by"
    return f"{slo.text}: measured {share(point) if slo.quantity == 'errors' else ms(point)}"


def count(n: int, noun: str) -> str:
    """`1 night`, `7 nights`, `1,000 requests`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def dates(first: str, last: str) -> str:
    """The days of two instants (ISO 8601): `2026-11-24`, `2026-11-01 to 2026-11-24`."""
    return first[:10] if first[:10] == last[:10] else f"{first[:10]} to {last[:10]}"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = list(items)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def plain(text: str) -> str:
    """One line without control characters: what a target said must not move a cursor or colour a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _digits(percent: float) -> int:
    return 0 if abs(percent) >= 9.95 else 1
