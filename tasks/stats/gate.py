"""History and tonight -> verdicts. Pure: the flow calls it once a night, a simulation thousands of times.

The unit is the night. Each cell's past nights say where tonight should lie (moderated t, `moderate`), the control takes
the machine's own luck off (`control`), Benjamini-Hochberg holds the false alarms of a target's whole family
(`family`), and a candidate must be seen again in a second measurement of the same night.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import stdtrit

from storage.records import Verdict, Word
from tasks.stats.control import luck, moved
from tasks.stats.errors import judge_errors, nights_words
from tasks.stats.family import benjamini_hochberg
from tasks.stats.hypotheses import Hypothesis, hypotheses, worse_p
from tasks.stats.nights import ERRORS, arrange
from tasks.stats.rules import GateRules

__all__ = ["GateRules", "candidates", "judge", "overall"]

CANDIDATE = "candidate"
NO_DATA = "no data tonight"
NOT_CONFIRMED = "not confirmed"
_ORDER = (Word.REGRESSED, Word.INVALID, Word.INCONCLUSIVE, Word.IMPROVED, Word.UNCHANGED)


def judge(
    history: pl.DataFrame,
    tonight: pl.DataFrame,
    *,
    confirm: pl.DataFrame | None = None,
    control: str | None = None,
    carried: pl.DataFrame | None = None,
    rules: GateRules = GateRules(),  # noqa: B008 - frozen
) -> list[Verdict]:
    """One verdict a cell and a mean over levels, for every target but the control.

    Rows: night, target, series, level, metric, value (seconds, requests a second; for `errors` the failures), n.
    `confirm`: the candidates measured once more; None: a candidate comes back inconclusive. `carried`: rows of the
    nights of the segment before (before an accepted change, or on the machine before): while the segment is young they
    say how much its cells spread, though not where they lie.
    """
    nights = arrange(history, tonight, confirm, control)
    before = arrange(carried if carried is not None else history.clear(), history.clear(), None, control)
    away = moved(nights, rules)
    found: list[Verdict] = []
    for target, cells in nights.targets.items():
        tests: list[Hypothesis] = []
        for series in dict.fromkeys(cell.series for cell in cells):
            mine = [cell for cell in cells if cell.series == series and cell.metric != ERRORS]
            old = before.carried(target)
            tests += hypotheses(mine, luck(mine, nights, rules, old), rules, old)
        found += _family(target, tests, away, confirmed=confirm is not None, rules=rules)
        errors = [cell for cell in cells if cell.metric == ERRORS]
        for cell in errors:
            levels = sum(1 for other in errors if other.series == cell.series)
            verdict = judge_errors(target, cell, levels, confirmed=confirm is not None, rules=rules)
            found.append(_not_quiet(verdict, away))
    return found


def candidates(verdicts: Sequence[Verdict]) -> list[tuple[str, list[int]]]:
    """(target, levels to measure once more): the candidates' own, and all of a series where its mean is one.

    A mean is looked at again as a whole: by the levels alone that happened to stand out, a tail of +10 % is confirmed
    on 89 % of nights, by all of them on 95 % (simulated with p < .01 for the second look).
    """
    wanted: dict[str, set[int]] = {}
    for verdict in verdicts:
        if (verdict.verdict, verdict.reason) != (Word.INCONCLUSIVE, CANDIDATE):
            continue
        whole = {v.level for v in verdicts if v.level is not None and _same_series(v, verdict)}
        wanted.setdefault(verdict.target, set()).update(whole if verdict.level is None else {verdict.level})
    return [(target, sorted(levels)) for target, levels in wanted.items()]


def overall(verdicts: Sequence[Verdict]) -> Word:
    """The first present of regressed, invalid, inconclusive, improved, unchanged; nothing judged is inconclusive."""
    words = {verdict.verdict for verdict in verdicts}
    return next((word for word in _ORDER if word in words), Word.INCONCLUSIVE)


def _same_series(one: Verdict, other: Verdict) -> bool:
    return (one.target, one.series) == (other.target, other.series)


def _family(
    target: str, tests: Sequence[Hypothesis], away: float | None, *, confirmed: bool, rules: GateRules
) -> list[Verdict]:
    p = {k: worse_p(t.effect, t.expected) for k, t in enumerate(tests) if t.expected and not math.isnan(t.tonight)}
    worse = np.array(list(p.values()))
    up = dict(zip(p, benjamini_hochberg(worse, rules.fdr), strict=True))
    down = dict(zip(p, benjamini_hochberg(1 - worse, rules.fdr), strict=True))
    found: list[Verdict] = []
    for k, test in enumerate(tests):
        if k not in p:
            found.append(_unready(target, test, rules))
            continue
        word, reason = Word.UNCHANGED, ""
        if up[k] and math.expm1(test.effect) >= rules.min_effect:
            word, reason = _decide(test, Word.REGRESSED, confirmed, rules)
        elif away is None and down[k] and _is_better(test, rules):
            word, reason = _decide(test, Word.IMPROVED, confirmed, rules)
        found.append(_not_quiet(_verdict(target, test, p[k], len(p), word, reason, rules), away))
    return found


def _is_better(test: Hypothesis, rules: GateRules) -> bool:
    """Not against the one or two first nights of a segment: those were chosen for being slow."""
    return test.nights >= rules.least_nights and math.expm1(-test.effect) >= rules.min_effect


def _not_quiet(verdict: Verdict, away: float | None) -> Verdict:
    """A control that moved may hide a change, so such a night is not called unchanged. It does not excuse one that
    stands out with the control's move taken off and is seen again."""
    if away is None or verdict.verdict != Word.UNCHANGED:
        return verdict
    return replace(verdict, verdict=Word.INCONCLUSIVE.value, reason=f"control moved by {away:+.1%}")


def _decide(test: Hypothesis, word: Word, confirmed: bool, rules: GateRules) -> tuple[Word, str]:
    """A candidate for `word`: seen again, not seen again, or not yet looked at."""
    if not confirmed or math.isnan(test.again) or test.expected_again is None:
        return Word.INCONCLUSIVE, CANDIDATE
    sign = 1 if word is Word.REGRESSED else -1
    p = worse_p(sign * test.effect_again, test.expected_again)
    both = sign * (test.effect + test.effect_again) / 2
    seen = p < test.confirm_p and math.expm1(both) >= rules.min_effect
    return (word, "confirmed") if seen else (Word.UNCHANGED, NOT_CONFIRMED)


def _unready(target: str, test: Hypothesis, rules: GateRules) -> Verdict:
    if math.isnan(test.tonight):
        reason = NO_DATA
    else:
        reason = f"{nights_words(test.nights)} of history; {rules.least_nights} are needed"
        if test.warn is not None and math.expm1(test.warn) >= rules.warn_effect:
            reason += f"; warning: {math.expm1(test.warn):+.0%}"
    effect = None if test.warn is None else math.expm1(test.warn)
    word = Word.INCONCLUSIVE.value
    return Verdict(target, test.series, test.metric, test.level, effect, None, None, None, None, word, reason)


def _verdict(
    target: str, test: Hypothesis, p: float, family: int, word: Word, reason: str, rules: GateRules
) -> Verdict:
    """`detectable`: the smallest effect that would have been a candidate tonight with nothing else changed."""
    expected = test.expected
    assert expected is not None
    half = expected.half_width(rules.interval)
    seen = float(stdtrit(expected.df, 1 - rules.fdr / family)) * expected.sd
    lower, upper = math.expm1(test.effect - half), math.expm1(test.effect + half)
    detectable = max(rules.min_effect, math.expm1(seen))
    effect = math.expm1(test.effect)
    return Verdict(
        target, test.series, test.metric, test.level, effect, lower, upper, p, detectable, word.value, reason
    )
