"""The tables of a report as words: the page, the artifact and the terminal set the same cells in their own way."""

from dataclasses import dataclass
from typing import Any

from storage.records import Series, Verdict
from tasks.charts.words import (
    NONE,
    effect_words,
    estimate_words,
    interval_words,
    metric_words,
    ms,
    number,
    place_words,
    signed,
    value_words,
)
from tasks.report.instrument import beside, floor_words, used_words
from tasks.report.view import (
    RunView,
    changed,
    estimate,
    first_legs,
    levels,
    moved_by,
    moved_effect,
    nights,
    targets,
    validity,
)

LEVEL_METRICS = (
    "latency_p50",
    "latency_p90",
    "latency_p95",
    "latency_p99",
    "latency_mean",
    "response_p95",
    "response_p99",
)
STREAM_METRICS = ("ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95", "itl_p50", "itl_p95", "itl_p99")
LEADING_METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput", "goodput")
RATE_METRICS = ("throughput", "goodput", "output_tokens_per_s", "errors")


@dataclass(frozen=True)
class Number:
    """A value and its interval, apart, so that each place can set them: `212 ms`, `[201, 224]`."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class LevelRow:
    """One (target, series, level): `numbers` in the order of the metrics asked for."""

    target: str
    place: str
    level: int
    numbers: list[Number]
    requests: int
    failed: int
    validity: str
    reasons: list[str]
    floor: Number = Number(NONE)  # what the instrument itself adds: `0.31 ms`, `p99 0.92 ms`
    used: str = NONE  # of what the instrument can send: `7 % of 14,000/s`


@dataclass(frozen=True)
class ChangeRow:
    """One verdict, its change said in per cent and in the metric's own unit."""

    target: str
    what: str
    tonight: str
    effect: str
    by: str
    detectable: str
    nights: int
    verdict: str
    reason: str


def present(view: RunView, target: str, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics among these that at least one level of the target has."""
    found = {cell.metric for cell in view.cells if cell.target == target}
    return tuple(metric for metric in metrics if metric in found)


def level_rows(view: RunView, target: str, metrics: tuple[str, ...]) -> list[LevelRow]:
    """One row a level of one target, the sweep's levels rising, then replay and load."""
    rows = []
    for series, level in levels(view, target):
        legs = [leg for leg in first_legs(view, target) if (leg.series, leg.level) == (series, level)]
        word, reasons = validity(legs)
        numbers = [_number(view, target, series, level, metric) for metric in metrics]
        measured, failed = _counted(view, target, series, level)
        name = f"{level:,} concurrent" if series == Series.SWEEP else str(series)
        mine = beside(view, target, series, level)
        floor, used = Number(NONE), NONE
        if mine is not None:
            floor, used = Number(floor_words(mine), f"p99 {ms(mine.floor_p99_ms / 1e3)}"), used_words(mine)
        rows.append(LevelRow(target, name, level, numbers, measured, failed, word, reasons, floor, used))
    return rows


def _counted(view: RunView, target: str, series: str, level: int) -> tuple[int, int]:
    """(measured, failed) requests: of the legs, or of the estimates of a stress, which is no leg's."""
    if series == Series.STRESS:
        errors = estimate(view, target, series, level, "errors")
        return (0, 0) if errors is None else (errors.n, round(errors.point * errors.n))
    legs = [leg for leg in first_legs(view, target) if (leg.series, leg.level) == (series, level)]
    measured = sum(leg.measured for leg in legs)
    return measured, measured - sum(leg.ok for leg in legs)


def change_rows(view: RunView, verdicts: list[Verdict]) -> list[ChangeRow]:
    """Verdicts as rows, in the order given; a throughput that fell has a minus."""
    return [_change(view, verdict) for verdict in verdicts]


def quiet(view: RunView) -> list[Verdict]:
    """Verdicts that say nothing moved, or that nothing can be said, the largest effect first."""
    shown = changed(view)
    rest = [verdict for verdict in view.verdicts if verdict not in shown]
    return sorted(rest, key=lambda v: -abs(v.effect or 0.0))


def estimate_rows(view: RunView) -> list[dict[str, Any]]:
    """For a table artifact: one row a number, one column a load, so that it is no wider than a page of Prefect."""
    several = len(targets(view)) > 1
    found = []
    for target in targets(view):
        heads, rows = by_load(view, target)
        head = {"target": target} if several else {}
        found += [{**head, "number": row[0], **dict(zip(heads[1:], row[1:], strict=True))} for row in rows]
    return found


def by_load(view: RunView, target: str) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) of one target: its leading numbers with intervals, failures and validity, a column a load."""
    metrics = present(view, target, LEADING_METRICS)
    loads = level_rows(view, target, metrics)
    rows = [[metric_words(metric), *(_joined(row.numbers[k]) for row in loads)] for k, metric in enumerate(metrics)]
    rows += [["failed", *(failed_words(row) for row in loads)], ["validity", *(row.validity for row in loads)]]
    return ["number", *(row.place for row in loads)], rows


def failed_words(row: LevelRow) -> str:
    """`3 of 1,000`."""
    return f"{row.failed:,} of {row.requests:,}"


def _joined(n: Number) -> str:
    return f"{n.value} {n.interval}".strip()


def _number(view: RunView, target: str, series: str, level: int, metric: str) -> Number:
    found = estimate(view, target, series, level, metric)
    if found is None:
        return Number(NONE)
    value = ("≥ " if found.at_least else "") + value_words(metric, found.point)
    return Number(value, interval_words(metric, found))


def _change(view: RunView, verdict: Verdict) -> ChangeRow:
    tonight = estimate(view, verdict.target, verdict.series, verdict.level, verdict.metric)
    effect, by = moved_effect(verdict), moved_by(view, verdict)
    return ChangeRow(
        target=verdict.target,
        what=f"{metric_words(verdict.metric)} {place_words(verdict.series, verdict.level)}",
        tonight=NONE if tonight is None else estimate_words(verdict.metric, tonight),
        effect=NONE if effect is None else effect_words(*effect),
        by=NONE if by is None else _by_words(verdict.metric, by),
        detectable=NONE if verdict.detectable is None else f"{signed(verdict.detectable).lstrip('+')} %",
        nights=nights(view, verdict),
        verdict=verdict.verdict,
        reason="" if verdict.reason == verdict.verdict else verdict.reason,
    )


def _by_words(metric: str, by: float) -> str:
    sign = "−" if by < 0 else "+"
    return f"{sign}{number(abs(by))}/s" if metric in ("throughput", "goodput") else f"{sign}{ms(abs(by))}"


@dataclass(frozen=True)
class SloRow:
    """One objective at the place where it was judged; `word`: kept, broken or not judged."""

    text: str
    target: str
    place: str
    measured: str
    word: str


def slo_rows(view: RunView) -> list[SloRow]:
    """Broken objectives first, then those without a judgement, then those kept."""
    words = {False: "broken", None: "not judged", True: "kept"}
    results = sorted(view.slo_results, key=lambda result: list(words).index(result.ok))
    return [
        SloRow(
            r.slo.text,
            r.target,
            place_words(r.series, r.level),
            NONE if r.point is None else value_words("errors" if r.slo.quantity == "errors" else "latency", r.point),
            words[r.ok],
        )
        for r in results
    ]
