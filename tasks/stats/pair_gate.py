"""Pairs of block figures -> comparisons: is a candidate slower than the baseline by more than `min_effect`?

A cell is a candidate when its paired interval lies wholly above `min_effect` and Benjamini-Hochberg lets it fall
(q = .10 over what leads of one candidate: its cells and its means over levels, each tested against `min_effect`, not
against nothing). Its levels are then measured once more. It is regressed when the second measurement by itself reaches
`confirm_p`, and the interval over the blocks of both lies wholly above `min_effect` too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from storage.records import Comparison, Word
from tasks.stats.family import benjamini_hochberg
from tasks.stats.pair_rules import PairRules
from tasks.stats.paired import OUTPUT, Difference, Pair, apart, difference

JUDGED = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
OF_A_TOKEN = ("ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95")  # what does not grow with the length of an answer
CANDIDATE = "to be measured again"
NOT_CONFIRMED = "not confirmed"
LENGTHS = "answers differ in length"
OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True)
class Match:
    """Two targets that were measured in the same blocks; `again`: the second measurement, None: there was none."""

    baseline: str
    candidate: str
    kind: str
    pairs: Sequence[Pair]
    again: Sequence[Pair] | None = None


@dataclass(frozen=True, slots=True)
class _Cell:
    pair: Pair
    away: Difference | None
    again: Pair | None

    @property
    def known(self) -> Difference | None:
        return None if self.pair.blind else self.away


def compare(match: Match, rules: PairRules = PairRules()) -> list[Comparison]:  # noqa: B008 - frozen
    """One comparison a pair, in the order given. Output tokens are only shown, and so is all of an overhead."""
    again = {(pair.metric, pair.level): pair for pair in match.again or ()}
    cells = [_Cell(pair, difference(pair), again.get((pair.metric, pair.level))) for pair in match.pairs]
    longer = length_effect(match.pairs)
    apart_in_length = longer is not None and abs(longer) > rules.length_apart
    judged = _leading([cell.pair.metric for cell in cells], apart_in_length)
    leading = [cell for cell in cells if cell.pair.metric in judged]
    worse, better = _fallen(leading, rules)
    found = []
    for cell in cells:
        leads = cell.pair.metric in judged
        verdict, reason = "", ""
        if leads and match.kind != OVERHEAD:
            verdict, reason = _word(cell, id(cell) in worse, id(cell) in better, match.again is not None, rules)
        elif apart_in_length and cell.pair.metric in JUDGED:
            reason = LENGTHS
        found.append(_comparison(match, cell, leads, verdict, reason, rules))
    return found


def length_effect(found: Sequence[Pair]) -> float | None:
    """How much longer the candidate's answers are, as a share; None where nobody told their length."""
    told = [pair for pair in found if pair.metric == OUTPUT]
    if not told:
        return None
    pair = next((pair for pair in told if pair.level is None), told[0])
    return float(np.exp(np.log(pair.candidate / pair.baseline).mean())) - 1


def levels_again(found: Sequence[Comparison]) -> list[int]:
    """The levels to measure once more: those of the candidates, or all where only a mean is one."""
    marked = [one for one in found if one.reason == CANDIDATE]
    levels = sorted({one.level for one in marked if one.level is not None})
    if marked and (not levels or any(one.level is None for one in marked)):
        return sorted({one.level for one in found if one.level is not None})
    return levels


def overall(found: Sequence[Comparison], rules: PairRules = PairRules()) -> tuple[str | None, str]:  # noqa: B008
    """(word, reason) of everything that was judged; None: nothing was meant to be."""
    judged = [one for one in found if one.verdict]
    if not judged:
        return None, ""
    for word in (Word.REGRESSED, Word.INCONCLUSIVE):
        said = next((one for one in judged if one.verdict == word), None)
        if said is not None:
            return word.value, "" if word is Word.REGRESSED else said.reason
    seen = [one.detectable for one in judged if one.detectable is not None]
    if not seen or min(seen) > (1 + rules.min_effect) * (1 + rules.blind_from) - 1:
        sight = (
            f"only {100 * min(seen):+.0f} % or more could have been seen" if seen else "nothing could have been seen"
        )
        return Word.INCONCLUSIVE.value, f"too noisy: {sight}; more blocks or requests are needed"
    word = Word.IMPROVED if any(one.verdict == Word.IMPROVED for one in judged) else Word.UNCHANGED
    return word.value, ""


def _leading(metrics: Sequence[str], apart_in_length: bool) -> set[str]:
    return set(metrics) & set(OF_A_TOKEN if apart_in_length else JUDGED)


def _fallen(cells: Sequence[_Cell], rules: PairRules) -> tuple[set[int], set[int]]:
    """Cells, by identity, whose interval lies beyond `min_effect` and that fall in their family: worse, better."""
    known = [cell for cell in cells if cell.known is not None and cell.known.df + 1 >= rules.least_blocks]
    sides = []
    for worse in (True, False):
        p, beyond = [], []
        for cell in known:
            assert cell.known is not None
            away = cell.known if worse else _turned(cell.known)
            p.append(away.p_above(rules.min_effect))
            beyond.append(away.mean - away.half > math.log1p(rules.min_effect))
        fallen = benjamini_hochberg(np.array(p), rules.fdr)
        both = zip(known, fallen, beyond, strict=True)
        sides.append({id(cell) for cell, down, out in both if down and out and (worse or not cell.pair.at_least)})
    return sides[0], sides[1]


def _turned(away: Difference) -> Difference:
    return replace(away, mean=-away.mean)


def _word(cell: _Cell, worse: bool, better: bool, measured_again: bool, rules: PairRules) -> tuple[str, str]:
    if cell.away is None or cell.away.df + 1 < rules.least_blocks:
        blocks = len(cell.pair.baseline)
        return Word.INCONCLUSIVE, f"{blocks} {'block' if blocks == 1 else 'blocks'}; {rules.least_blocks} are needed"
    if cell.pair.blind:
        return Word.INCONCLUSIVE, "the baseline's own requests did not end in time"
    if not worse:
        return Word.IMPROVED if better else Word.UNCHANGED, ""
    if not rules.confirm:
        return Word.REGRESSED, "not measured again"
    if not measured_again or cell.again is None:
        return Word.INCONCLUSIVE, CANDIDATE
    return (Word.REGRESSED, "") if _confirmed(cell.pair, cell.again, rules) else (Word.UNCHANGED, NOT_CONFIRMED)


def _confirmed(first: Pair, second: Pair, rules: PairRules) -> bool:
    away = difference(second)
    if away is None or second.blind or away.p_above(rules.min_effect) >= rules.confirm_p:
        return False
    both = difference(
        replace(
            first,
            baseline=np.concatenate([first.baseline, second.baseline]),
            candidate=np.concatenate([first.candidate, second.candidate]),
        )
    )
    return both is not None and both.mean - both.half > math.log1p(rules.min_effect)


def _comparison(match: Match, cell: _Cell, leads: bool, verdict: str, reason: str, rules: PairRules) -> Comparison:
    pair, away = cell.pair, cell.known
    again = None if cell.again is None else difference(cell.again)
    by = (None, None, None) if pair.level is None or pair.blind else apart(pair)
    ends = (None, None) if away is None else away.ends
    values = [math.exp(float(np.log(side).mean())) for side in (pair.baseline, pair.candidate)]
    return Comparison(
        baseline=match.baseline,
        candidate=match.candidate,
        kind=match.kind,
        metric=pair.metric,
        level=pair.level,
        baseline_value=values[0],
        candidate_value=values[1],
        effect=None if away is None else math.expm1(away.mean),
        lower=ends[0],
        upper=ends[1],
        by=by[0],
        by_lower=by[1],
        by_upper=by[2],
        p=None if away is None or not leads else away.p_above(rules.min_effect),
        detectable=None if away is None or not leads else away.detectable(rules.min_effect),
        again=None if again is None else math.expm1(again.mean),
        blocks=len(pair.baseline),
        n=pair.n,
        at_least=pair.at_least,
        leads=leads,
        verdict=str(verdict),
        reason=reason,
    )
