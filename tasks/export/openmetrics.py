"""A run as OpenMetrics text. Gauges only and without timestamps, so that node-exporter's textfile collector, which
knows the older Prometheus text alone, takes the same bytes.

Every sample carries the plan's name; `level` is 0 where there is none (replay, load), `all` for the mean over levels.
Bounds of the 95 % interval are gauges of their own (`…_lower_…`, `…_upper_…`), absent where there is no interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from storage.records import Attempt, Cell, Leg, Series, Validity, Verdict, Word
from tasks.export.facts import Facts

# Metric of an estimate that is no time -> the name's beginning, its unit, what it is.
RATES = {
    "throughput": ("gatebench_throughput", "requests_per_second", "Finished requests a second"),
    "goodput": ("gatebench_goodput", "requests_per_second", "Requests a second inside every objective"),
    "output_tokens_per_s": ("gatebench_output", "tokens_per_second", "Output tokens a second"),
    "errors": ("gatebench_errors", "ratio", "Share of requests that failed"),
}
TIMES = {
    "latency": "From sending a request to the end of its answer",
    "response": "From when a request was due to the end of its answer",
    "ttft": "From sending a request to its first token",
    "tpot": "Time of an output token after the first",
    "itl": "Gap between chunks of tokens",
}
UNITS = ("seconds", "ratio", "dollars")


@dataclass
class Gauge:
    """One family. `points`: (labels, value)."""

    name: str
    help: str
    points: list[tuple[dict[str, str], float]] = field(default_factory=list)


def openmetrics(facts: Facts) -> str:
    """The text, with its end marker. Families are there only where they have samples."""
    plan = {"plan": facts.run.plan_name}
    lines: list[str] = []
    for gauge in _families(facts):
        if not gauge.points:
            continue
        lines.append(f"# TYPE {gauge.name} gauge")
        unit = gauge.name.rpartition("_")[2]
        if unit in UNITS:
            lines.append(f"# UNIT {gauge.name} {unit}")
        lines.append(f"# HELP {gauge.name} {gauge.help}.")
        lines += [f"{gauge.name}{{{_labels({**plan, **labels})}}} {value!r}" for labels, value in gauge.points]
    return "\n".join([*lines, "# EOF", ""])


def _families(facts: Facts) -> Iterator[Gauge]:
    yield from _of_run(facts)
    yield from _estimates([cell for cell in facts.cells if cell.attempt == Attempt.FIRST])
    yield from _loads([leg for leg in facts.legs if leg.attempt == Attempt.FIRST and leg.series != Series.CALIBRATION])
    yield from _judged(facts)
    yield from _beside(facts)


def _of_run(facts: Facts) -> Iterator[Gauge]:
    run = facts.run
    known = {"run": run.run_id, "flow": run.flow, "status": run.status}
    known |= {"workload": run.workload_id or "", "fingerprint": run.fingerprint or ""}
    yield Gauge("gatebench_run_info", "The last run of a plan", [(known, 1.0)])
    start = datetime.fromisoformat(run.started_at)
    yield Gauge("gatebench_run_start_timestamp_seconds", "When it began", [({}, start.timestamp())])
    if run.ended_at is not None:
        lasted = (datetime.fromisoformat(run.ended_at) - start).total_seconds()
        yield Gauge("gatebench_run_duration_seconds", "How long it took", [({}, lasted)])
    if run.exit_code is not None:
        yield Gauge("gatebench_run_exit_code", "Its exit code, 0 is fine", [({}, float(run.exit_code))])
    words = [({"verdict": word.value}, float(run.verdict == word)) for word in Word]
    yield Gauge("gatebench_run_verdict", "1 at the run's verdict; nowhere where it was not judged", words)
    still_open = sum(one.status in ("open", "acknowledged") for one in facts.incidents)
    yield Gauge("gatebench_incidents_open", "Incidents that are open or acknowledged", [({}, float(still_open))])


def _estimates(cells: list[Cell]) -> Iterator[Gauge]:
    for quantity, words in TIMES.items():
        mine = [cell for cell in cells if cell.metric.partition("_")[0] == quantity]
        stats = [({**_place(c), "stat": c.metric.partition("_")[2]}, c) for c in mine]
        yield from _bounded(f"gatebench_{quantity}", "seconds", words, stats)
    for metric, (head, unit, words) in RATES.items():
        yield from _bounded(head, unit, words, [(_place(c), c) for c in cells if c.metric == metric])


def _bounded(head: str, unit: str, words: str, found: list[tuple[dict[str, str], Cell]]) -> Iterator[Gauge]:
    yield Gauge(f"{head}_{unit}", words, [(labels, cell.estimate.point) for labels, cell in found])
    for bound in ("lower", "upper"):
        ends = [(labels, getattr(cell.estimate, bound)) for labels, cell in found]
        known = [(labels, value) for labels, value in ends if value is not None]
        yield Gauge(f"{head}_{bound}_{unit}", f"{words}, {bound} end of the 95 % interval", known)


def _loads(legs: list[Leg]) -> Iterator[Gauge]:
    trials = dict.fromkeys((leg.target, leg.series, leg.level) for leg in legs)
    grouped = {key: [leg for leg in legs if (leg.target, leg.series, leg.level) == key] for key in trials}
    labels = {key: {"target": key[0], "series": key[1], "level": str(key[2])} for key in trials}
    measured = [(labels[key], float(sum(leg.measured for leg in mine))) for key, mine in grouped.items()]
    yield Gauge("gatebench_measured_requests", "Requests that were measured", measured)
    failed = [
        ({**labels[key], "failure": kind}, float(sum(leg.failed.get(kind, 0) for leg in mine)))
        for key, mine in grouped.items()
        for kind in sorted({kind for leg in mine for kind in leg.failed})
    ]
    yield Gauge("gatebench_failed_requests", "Of these, those that failed, by kind", failed)
    valid = [
        (labels[key], float(all(leg.validity != Validity.INVALID for leg in mine))) for key, mine in grouped.items()
    ]
    yield Gauge("gatebench_measurement_valid", "0 where the generator itself was the limit", valid)


def _judged(facts: Facts) -> Iterator[Gauge]:
    """Changes are ratio - 1 and up is worse: throughput is turned round."""
    verdicts = [({**_place(v), "metric": v.metric}, v) for v in facts.verdicts]
    pairs = [
        ({"baseline": c.baseline, "target": c.candidate, "level": _level(c.level), "metric": c.metric}, c)
        for c in facts.comparisons
    ]
    for name, of, found in (
        ("gatebench_change", "Change against the baseline's nights, up is worse", verdicts),
        ("gatebench_difference", "Difference to another target of the same run, up is worse", pairs),
    ):
        for suffix, part in (("", "effect"), ("_lower", "lower"), ("_upper", "upper")):
            ends = [(labels, getattr(one, part)) for labels, one in found]
            known = [(labels, value) for labels, value in ends if value is not None]
            yield Gauge(f"{name}{suffix}_ratio", of if part == "effect" else f"{of}, {part} end", known)
        judged = [(labels, float(one.verdict == Word.REGRESSED)) for labels, one in found if one.verdict]
        yield Gauge(f"{name}_regressed", "1 where it is judged a regression", judged)
    met = [
        (
            {"target": r.target, "series": r.series, "level": str(r.level), "objective": r.slo.text},
            float(r.ok is True),
        )
        for r in facts.slo_results
    ]
    yield Gauge("gatebench_objective_met", "1 where an objective is kept; without data it is not", met)


def _beside(facts: Facts) -> Iterator[Gauge]:
    ceilings = [({"target": c.target, "limited_by": c.limited_by}, c) for c in facts.ceilings]
    yield Gauge(
        "gatebench_ceiling_requests_per_second",
        "Highest throughput sustained",
        [(labels, c.throughput_rps.point) for labels, c in ceilings],
    )
    yield Gauge(
        "gatebench_ceiling_reached",
        "0 where throughput still rose, so that the ceiling is at least that",
        [(labels, float(c.reached)) for labels, c in ceilings],
    )
    floors = [
        ({"stream": str(c.stream).lower(), "transport": c.transport, "stat": stat}, value / 1e3)
        for c in facts.calibrations
        for stat, value in (("p50", c.floor_p50_ms), ("p99", c.floor_p99_ms))
    ]
    yield Gauge("gatebench_instrument_floor_seconds", "What the instrument itself adds to a latency", floors)
    spent: dict[tuple[str, str], float] = {}
    for cost in facts.costs:
        if cost.usd is not None:
            spent[cost.target, cost.model] = spent.get((cost.target, cost.model), 0.0) + cost.usd
    costs = [({"target": target, "model": model}, usd) for (target, model), usd in spent.items()]
    yield Gauge("gatebench_cost_dollars", "What the answers cost", costs)


def _place(one: Cell | Verdict) -> dict[str, str]:
    return {"target": one.target, "series": one.series, "level": _level(one.level)}


def _level(level: int | None) -> str:
    return "all" if level is None else str(level)


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    flat = "".join(c if c.isprintable() else " " for c in value)
    return flat.replace("\\", "\\\\").replace('"', '\\"')
