"""Are there more errors than past nights explain? A beta-binomial prediction, not Fisher's test on pooled requests."""

import math

import numpy as np

from storage.records import Verdict, Word
from tasks.stats.mid_p import beta_binomial
from tasks.stats.nights import ERRORS, Cell
from tasks.stats.rules import GateRules


def judge_errors(target: str, cell: Cell, levels: int, *, confirmed: bool, rules: GateRules) -> Verdict:
    """Upper mid-p of tonight's failures under the beta-binomial of history; alpha is shared by the `levels`."""
    known = ~np.isnan(cell.past)
    nights = int(known.sum())
    rate = cell.tonight

    def say(word: Word, reason: str, effect: float | None = None, p: float | None = None) -> Verdict:
        return Verdict(target, cell.series, ERRORS, cell.level, effect, None, None, p, None, word.value, reason)

    if math.isnan(rate):
        return say(Word.INCONCLUSIVE, "no data tonight")
    if nights < rules.least_nights:
        return say(Word.INCONCLUSIVE, f"{nights_words(nights)} of history; {rules.least_nights} are needed")
    usual, rho = _moments(cell.past[known], cell.past_n[known], rules)
    p = _upper_mid_p(rate, cell.tonight_n, usual, rho)
    effect = rate / usual - 1 if (cell.past[known] > 0).any() else None  # no ratio to a history without errors
    if p >= rules.error_alpha / max(levels, 1) or rate <= usual:
        return say(Word.UNCHANGED, "", effect, p)
    if not confirmed or math.isnan(cell.again):
        return say(Word.INCONCLUSIVE, "candidate", effect, p)
    again = _upper_mid_p(cell.again, cell.again_n, usual, rho)
    if again < rules.error_confirm_p:
        return say(Word.REGRESSED, f"{rate:.2%} of requests failed, {usual:.2%} usually", effect, p)
    return say(Word.UNCHANGED, "not confirmed", effect, p)


def nights_words(n: int) -> str:
    return f"{n} night" if n == 1 else f"{n} nights"


def _moments(rates: np.ndarray, sizes: np.ndarray, rules: GateRules) -> tuple[float, float]:
    """(usual rate, intra-night correlation) by moments; half a failure is added, so that a clean history is not 0."""
    failures, requests = float((rates * sizes).sum()), float(sizes.sum())
    usual = (failures + 0.5) / (requests + 1)
    size = float(sizes.mean())
    spread = usual * (1 - usual)
    rho = (float(rates.var(ddof=1)) * size / spread - 1) / (size - 1) if size > 1 and len(rates) > 1 else 0.0
    return usual, min(0.5, max(rules.overdispersion, rho))


def _upper_mid_p(rate: float, n: float, usual: float, rho: float) -> float:
    """P(K > k) + P(K = k)/2 for K beta-binomial with mean n·usual and correlation rho."""
    size, total = round(n), (1 - rho) / rho
    return beta_binomial(round(rate * size), size, usual * total, (1 - usual) * total)
