"""Targets that were measured in the same blocks: who is slower by how much, in sentences and rows."""

from dataclasses import dataclass

import polars as pl

from storage.records import Comparison, Word
from tasks.charts.words import (
    NONE,
    RATES,
    as_moved,
    count,
    dollars,
    effect_words,
    metric_words,
    number,
    place_words,
    share,
    signed,
    value_words,
)
from tasks.report.money import spent
from tasks.report.view import RunView, first_legs, targets

OUTPUT = "output_tokens"
OVERHEAD = "overhead"
APART = 0.05  # mean output further apart than this is said
_ORDER = (
    *("latency_p50", "latency_p95", "latency_p99", "latency_mean", "ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95"),
    *("throughput", "errors", OUTPUT),
)


@dataclass(frozen=True)
class PairRow:
    """One comparison in words; the change is that of the metric itself, so that less throughput has a minus."""

    what: str
    place: str
    baseline: str
    candidate: str
    effect: str
    by: str
    again: str
    detectable: str
    verdict: str
    reason: str
    leads: bool


@dataclass(frozen=True)
class PairTable:
    baseline: str
    candidate: str
    kind: str
    rows: list[PairRow]

    @property
    def title(self) -> str:
        if self.kind == OVERHEAD:
            return f"What {self.candidate} adds to {self.baseline}"
        return f"{self.candidate} against {self.baseline}"

    @property
    def leading(self) -> list[PairRow]:
        return [row for row in self.rows if row.leads]

    @property
    def beside(self) -> list[PairRow]:
        return [row for row in self.rows if not row.leads]


@dataclass(frozen=True)
class SideRow:
    """One target: what it was asked and what its answers took."""

    target: str
    requests: str
    failed: str
    output: str
    tokens: str
    usd: str
    per_thousand: str


def pair_tables(view: RunView) -> list[PairTable]:
    """One a pair, in the order in which they were compared; what leads first, over all levels before each level."""
    names = dict.fromkeys((c.baseline, c.candidate, c.kind) for c in view.comparisons)
    return [PairTable(*name, [_row(one) for one in of_pair(view, name)]) for name in names]


def of_pair(view: RunView, name: tuple[str, str, str]) -> list[Comparison]:
    mine = [c for c in view.comparisons if (c.baseline, c.candidate, c.kind) == name]
    return sorted(mine, key=lambda c: (not c.leads, c.level is not None, c.level or 0, _ORDER.index(c.metric)))


def pair_frame(view: RunView, name: tuple[str, str, str]) -> pl.DataFrame:
    """what, place, effect, lower, upper (as the metric moved), verdict: what leads and has a ratio, in order."""
    rows = []
    for one in of_pair(view, name):
        moved = moved_of(one)
        if one.leads and moved is not None and moved[1] is not None:
            place = place_words("sweep", one.level).removeprefix("at ")
            rows.append((metric_words(one.metric), place, *moved, one.verdict or OVERHEAD))
    numbers = dict.fromkeys(("effect", "lower", "upper"), pl.Float64)
    schema = {"what": pl.String, "place": pl.String, **numbers, "verdict": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def side_rows(view: RunView) -> list[SideRow]:
    """One a target, in the order of the plan."""
    plan = [str(t["name"]) for t in view.run.plan.get("targets", [])]
    rows = []
    for target in sorted(targets(view), key=lambda name: plan.index(name) if name in plan else len(plan)):
        legs = first_legs(view, target)
        measured = sum(leg.measured for leg in legs)
        failed = measured - sum(leg.ok for leg in legs)
        took = spent([cost for cost in view.costs if cost.target == target])
        mean = output_of(view, target)
        rows.append(
            SideRow(
                target,
                f"{measured:,}",
                share(failed / measured) if measured else NONE,
                NONE if mean is None else number(mean),
                f"{took.input_tokens:,} in, {took.output_tokens:,} out",
                NONE if took.usd is None else dollars(took.usd),
                NONE if took.per_thousand is None else dollars(took.per_thousand),
            )
        )
    return rows


def output_of(view: RunView, target: str) -> float | None:
    """Mean output tokens of an ok answer, over all levels; None where nobody told."""
    mine = [c for c in view.comparisons if c.metric == OUTPUT and target in (c.baseline, c.candidate)]
    found = next((c for c in mine if c.level is None), mine[0] if mine else None)
    if found is None:
        return None
    return found.baseline_value if found.baseline == target else found.candidate_value


def length_lines(view: RunView) -> list[str]:
    """Pairs whose answers are of different lengths, and what follows from that."""
    lines = []
    for name in dict.fromkeys((c.baseline, c.candidate, c.kind) for c in view.comparisons):
        told = [c for c in of_pair(view, name) if c.metric == OUTPUT]
        one = next((c for c in told if c.level is None), told[0] if told else None)
        if one is None or one.effect is None or abs(one.effect) <= APART:
            continue
        if one.baseline_value is None or one.candidate_value is None:
            continue
        longer = "longer" if one.effect > 0 else "shorter"
        values = f"{number(one.candidate_value)} output tokens against {number(one.baseline_value)}"
        lines.append(
            f"answers of {name[1]} are {share(abs(one.effect))} {longer} than those of {name[0]} ({values}): "
            "TTFT and TPOT lead, for latency and throughput grow with the length of an answer"
        )
    return lines


def compared_words(view: RunView, word: Word | None) -> str:
    """The whole comparison in a sentence or two."""
    said = [_judged_words(view, word)] if word is not None else []
    said += [line for name in _overheads(view) if (line := overhead_words(view, name)) is not None]
    return " ".join(said) if said else "Measured side by side, not judged."


def overhead_words(view: RunView, name: tuple[str, str, str]) -> str | None:
    """At the lowest level, where nothing waits: what passing through costs."""
    mine = [c for c in of_pair(view, name) if c.level is not None and c.by is not None and c.leads]
    if not mine:
        return None
    level = min(c.level for c in mine if c.level is not None)
    found = [c for c in mine if c.level == level and c.metric not in ("throughput", "errors", "latency_p99")]
    parts = [f"{metric_words(c.metric)} {by_words(c)} ({effect_of(c)})" for c in found]
    where = place_words("sweep", level)
    return f"{name[1]} adds to {name[0]} {where}: {', '.join(parts)}." if parts else None


def moved_of(one: Comparison) -> tuple[float, float | None, float | None] | None:
    """(effect, lower, upper) as the metric itself moved."""
    if one.effect is None:
        return None
    point = as_moved(one.metric, one.effect)
    if one.lower is None or one.upper is None:
        return point, None, None
    ends = sorted((as_moved(one.metric, one.lower), as_moved(one.metric, one.upper)))
    return point, ends[0], ends[1]


def effect_of(one: Comparison) -> str:
    moved = moved_of(one)
    return NONE if moved is None else ("≥ " if one.at_least else "") + effect_words(*moved)


def by_words(one: Comparison) -> str:
    """`+4.1 ms [+3.9, +4.3]`, `−20.1/s …`, `+3.0 pp …` (percentage points) of a share."""
    if one.by is None:
        return NONE
    scale, unit = _unit(one.metric)
    ends = [end * scale for end in (one.by_lower, one.by_upper) if end is not None]
    head = f"{_plus(one.by * scale)}{unit}"
    return f"{head} [{_plus(ends[0])}, {_plus(ends[1])}]" if len(ends) == 2 else head


def _unit(metric: str) -> tuple[float, str]:
    if metric == "errors":
        return 100.0, " pp"
    if metric == OUTPUT:
        return 1.0, ""
    return (1.0, "/s") if metric in RATES else (1e3, " ms")


def _plus(value: float) -> str:
    text = number(abs(value))
    return text if not float(text.replace(",", "")) else ("−" if value < 0 else "+") + text


def _row(one: Comparison) -> PairRow:
    again = "" if one.again is None else f"{signed(as_moved(one.metric, one.again))} %"
    sight = NONE if one.detectable is None or one.kind == OVERHEAD else f"{signed(one.detectable, 0)} %"
    what = "output tokens" if one.metric == OUTPUT else metric_words(one.metric)
    most = "≥ " if one.at_least else ""
    return PairRow(
        what=what,
        place=place_words("sweep", one.level),
        baseline=_value(one.metric, one.baseline_value),
        candidate=most + _value(one.metric, one.candidate_value),
        effect=effect_of(one),
        by=by_words(one),
        again=again,
        detectable=sight,
        verdict=one.verdict,
        reason=one.reason,
        leads=one.leads,
    )


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return NONE
    return number(value) if metric == OUTPUT else value_words(metric, value)


def _overheads(view: RunView) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((c.baseline, c.candidate, c.kind) for c in view.comparisons if c.kind == OVERHEAD))


def _judged_words(view: RunView, word: Word) -> str:
    judged = [c for c in view.comparisons if c.verdict]
    if word in (Word.REGRESSED, Word.IMPROVED):
        mine = sorted((c for c in judged if c.verdict == word), key=_sureness)
        rest = len(mine) - 1
        more = f" ({count(rest, 'more verdict')} {word.value})" if rest else ""
        return f"{word.value.capitalize()}: {_difference(mine[0])}{more}."
    if word is Word.INCONCLUSIVE:
        return f"Inconclusive: {view.run.reason or 'cannot tell'}."
    others = list(dict.fromkeys(c.candidate for c in judged))
    seen = [(abs(c.effect), c) for c in judged if c.effect is not None and c.metric != "errors"]
    text = f"Unchanged: {', '.join(others)} {'is' if len(others) == 1 else 'are'} like {judged[0].baseline}"
    if seen:
        means = [(size, c) for size, c in seen if c.level is None]
        most = max(means or seen, key=lambda pair: pair[0])[1]  # of a few means, not of many noisy levels
        text += f"; the largest difference is {metric_words(most.metric)} {_at(most)}, {effect_of(most)}"
    sights = [(c.level is not None, c.metric != "latency_p95", c.detectable, c) for _, c in seen if c.detectable]
    if sights:
        *_, sight, best = min(sights, key=lambda one: one[:3])
        text += f"; {signed(sight, 0)} % {metric_words(best.metric)} {_at(best)} would have been seen"
    return f"{text}."


def _difference(one: Comparison) -> str:
    value = _value(one.metric, one.candidate_value)
    how = by_words(one) if one.metric == "errors" else effect_of(one)
    twice = ", seen twice" if one.again is not None else ""
    at = f"{metric_words(one.metric)} {_at(one)}"
    return f"{at} is {value} on {one.candidate}, {how} against {one.baseline}{twice}"


def _at(one: Comparison) -> str:
    return place_words("sweep", one.level)


def _sureness(one: Comparison) -> tuple[bool, bool, float]:
    """Means over levels first, and the p95 among them; then by how sure they are."""
    return one.level is not None, one.metric not in ("latency_p95", "tpot_p50"), 1.0 if one.p is None else one.p
