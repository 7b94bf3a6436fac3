"""Do two targets fail equally often? Counts by block -> comparisons of the error shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from storage.records import CONTROL, Comparison, Leg, Series, Word
from tasks.stats.mid_p import beta_binomial, binomial
from tasks.stats.pair_gate import CANDIDATE, NOT_CONFIRMED, OVERHEAD
from tasks.stats.pair_rules import PairRules

ERRORS = "errors"


@dataclass(frozen=True, slots=True)
class Counts:
    """(failed, measured) of one target at one level, a pair a block."""

    blocks: Sequence[tuple[int, int]]

    @property
    def failed(self) -> int:
        return sum(failed for failed, _ in self.blocks)

    @property
    def measured(self) -> int:
        return sum(n for _, n in self.blocks)


def counts(legs: Sequence[Leg], attempt: str, target: str) -> dict[int, Counts]:
    """By level. Legs that were stopped count as far as they got: an error breaker is no reason to look away."""
    mine = [leg for leg in legs if (leg.attempt, leg.target, leg.series) == (attempt, target, Series.SWEEP)]
    found: dict[int, list[tuple[int, int]]] = {}
    for leg in mine:
        if leg.measured and target != CONTROL:
            found.setdefault(leg.level, []).append((leg.measured - leg.ok, leg.measured))
    return {level: Counts(blocks) for level, blocks in sorted(found.items())}


def compare_errors(
    names: tuple[str, str, str],
    baseline: dict[int, Counts],
    candidate: dict[int, Counts],
    again: tuple[dict[int, Counts], dict[int, Counts]] | None,
    rules: PairRules,
) -> list[Comparison]:
    """One a level that both have. `names`: baseline, candidate, kind.

    Given all failures of a level, those of the candidate are binomial by its share of the requests, more widely spread
    than that by what failures of one block have in common; its upper mid-p is held against alpha over the levels.
    """
    levels = sorted(baseline.keys() & candidate.keys())
    found = []
    for level in levels:
        b, c = baseline[level], candidate[level]
        p = upper_mid_p(b, c, rules)
        worse = p < rules.error_alpha / len(levels)
        better = upper_mid_p(c, b, rules) < rules.error_alpha / len(levels)
        verdict, reason = _word(worse, better, _second(again, level, rules), rules)
        if names[2] == OVERHEAD:
            verdict, reason = "", ""
        found.append(_comparison(names, level, b, c, p, (verdict, reason), rules))
    return found


def upper_mid_p(baseline: Counts, candidate: Counts, rules: PairRules) -> float:
    """P(K > k) + P(K = k) / 2 for the candidate's failures K, given all."""
    total, k = baseline.failed + candidate.failed, candidate.failed
    if not total:
        return 0.5
    part = candidate.measured / (baseline.measured + candidate.measured)
    wider = spread(baseline, candidate, rules)
    if total == 1 or wider <= 1:
        return binomial(k, total, part)
    rho = min(0.9, (wider - 1) / (total - 1))
    width = (1 - rho) / rho
    return beta_binomial(k, total, part * width, (1 - part) * width)


def spread(baseline: Counts, candidate: Counts, rules: PairRules) -> float:
    """How many times the binomial variance the failures of a block have: Pearson's X² ÷ df over the blocks of each
    target, never below 1 + (n - 1) · overdispersion."""
    squares, df = 0.0, 0
    for side in (baseline, candidate):
        rate = side.failed / side.measured
        df += len(side.blocks) - 1
        if 0 < rate < 1:
            squares += sum((failed - n * rate) ** 2 / (n * rate * (1 - rate)) for failed, n in side.blocks)
    size = (baseline.measured + candidate.measured) / (len(baseline.blocks) + len(candidate.blocks))
    least = 1 + (size - 1) * rules.overdispersion
    return max(least, squares / df) if df else least


def _second(again: tuple[dict[int, Counts], dict[int, Counts]] | None, level: int, rules: PairRules) -> bool | None:
    """Was it seen again? None: it was not measured again."""
    if again is None or level not in again[0] or level not in again[1]:
        return None
    return upper_mid_p(again[0][level], again[1][level], rules) < rules.confirm_p


def _word(worse: bool, better: bool, second: bool | None, rules: PairRules) -> tuple[str, str]:
    if not worse:
        return Word.IMPROVED if better else Word.UNCHANGED, ""
    if not rules.confirm:
        return Word.REGRESSED, "not measured again"
    if second is None:
        return Word.INCONCLUSIVE, CANDIDATE
    return (Word.REGRESSED, "") if second else (Word.UNCHANGED, NOT_CONFIRMED)


def _comparison(
    names: tuple[str, str, str], level: int, b: Counts, c: Counts, p: float, said: tuple[str, str], rules: PairRules
) -> Comparison:
    low, high = share_apart(b, c, spread(b, c, rules))
    rates = b.failed / b.measured, c.failed / c.measured
    return Comparison(
        *names,
        metric=ERRORS,
        level=level,
        baseline_value=rates[0],
        candidate_value=rates[1],
        effect=rates[1] / rates[0] - 1 if rates[0] else None,
        lower=None,
        upper=None,
        by=rates[1] - rates[0],
        by_lower=low,
        by_upper=high,
        p=p,
        detectable=None,
        again=None,
        blocks=min(len(b.blocks), len(c.blocks)),
        n=b.measured + c.measured,
        at_least=False,
        leads=True,
        verdict=str(said[0]),
        reason=said[1],
    )


def share_apart(baseline: Counts, candidate: Counts, wider: float) -> tuple[float, float]:
    """95 % interval of the difference of two shares from their Wilson intervals (Newcombe 1998, method 10), with
    `wider` times fewer requests."""
    ends = []
    for side in (baseline, candidate):
        n = max(1.0, side.measured / wider)
        found = share_of(side.failed / side.measured, n)
        ends.append((side.failed / side.measured, *found))
    (b, b_low, b_high), (c, c_low, c_high) = ends
    return (
        c - b - math.hypot(c - c_low, b_high - b),
        c - b + math.hypot(c_high - c, b - b_low),
    )


def share_of(rate: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share of `n` requests, which need not be a whole number."""
    z = 1.959963984540054
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
