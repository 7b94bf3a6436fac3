"""History and tonight -> verdicts. Pure: the flow calls it once a night, a simulation thousands of times.

The unit is the night. Each cell's past nights say where tonight should lie (moderated t, `moderate`), the control takes
the machine's own luck off (`control`), Benjamini-Hochberg holds the false alarms of a target's whole family, and a
candidate must be seen again in a second measurement of the same night.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import t as student

from storage.records import Verdict, Word
from tasks.stats.control import adjust, moved, slope
from tasks.stats.errors import judge_errors, nights_words
from tasks.stats.moderate import Expected, level, mean_over_levels, own
from tasks.stats.nights import ERRORS, Cell, Floats, Nights, arrange
from tasks.stats.rules import GateRules

__all__ = ["GateRules", "candidates", "judge", "overall"]

CANDIDATE = "candidate"
NO_DATA = "no data tonight"
NOT_CONFIRMED = "not confirmed"
_ORDER = (Word.REGRESSED, Word.INVALID, Word.INCONCLUSIVE, Word.IMPROVED, Word.UNCHANGED)


@dataclass(frozen=True, slots=True)
class _Test:
    """One line of the family: a level, or (level None) the mean over the levels of a metric."""

    series: str
    metric: str
    level: int | None
    levels: tuple[int, ...]
    tonight: float
    again: float
    expected: Expected | None
    nights: int
    warn: float | None  # effect against too few nights, only ever mentioned

    @property
    def effect(self) -> float:
        """On the log scale, up is worse."""
        assert self.expected is not None
        return self.tonight - self.expected.mean

    def p(self, y: float) -> float:
        """One-sided: how often an unchanged night is at least as bad."""
        assert self.expected is not None
        return float(student.sf((y - self.expected.mean) / self.expected.sd, self.expected.df))


def judge(
    history: pl.DataFrame,
    tonight: pl.DataFrame,
    *,
    confirm: pl.DataFrame | None = None,
    control: str | None = None,
    rules: GateRules = GateRules(),  # noqa: B008 - frozen
) -> list[Verdict]:
    """One verdict a cell and a mean over levels, for every target but the control.

    Rows: night, target, series, level, metric, value (seconds, requests a second; for `errors` the failures), n.
    `confirm`: the candidates measured once more; None: a candidate comes back inconclusive.
    """
    nights = arrange(history, tonight, confirm, control)
    away = moved(nights, rules)
    found: list[Verdict] = []
    for target, cells in nights.targets.items():
        tests = [
            test for series in dict.fromkeys(c.series for c in cells) for test in _tests(series, cells, nights, rules)
        ]
        found += _family(target, tests, away, confirmed=confirm is not None, rules=rules)
        errors = [cell for cell in cells if cell.metric == ERRORS]
        for cell in errors:
            levels = sum(1 for other in errors if other.series == cell.series)
            said = judge_errors(target, cell, levels, confirmed=confirm is not None, rules=rules)
            if away is not None and said.verdict == Word.UNCHANGED:
                said = replace(said, verdict=Word.INCONCLUSIVE.value, reason=_control_words(away))
            found.append(said)
    return found


def candidates(verdicts: Sequence[Verdict]) -> list[tuple[str, list[int]]]:
    """(target, levels to measure once more): the candidates' own, or all of a series where only its mean is one."""
    wanted: dict[str, set[int]] = {}
    open_ones = [v for v in verdicts if v.verdict == Word.INCONCLUSIVE and v.reason == CANDIDATE]
    for verdict in open_ones:
        levels = wanted.setdefault(verdict.target, set())
        if verdict.level is not None:
            levels.add(verdict.level)
        elif not any(v.level is not None and _same_series(v, verdict) for v in open_ones):
            levels |= {v.level for v in verdicts if v.level is not None and _same_series(v, verdict)}
    return [(target, sorted(levels)) for target, levels in wanted.items()]


def overall(verdicts: Sequence[Verdict]) -> Word:
    """The first present of regressed, invalid, inconclusive, improved, unchanged; nothing judged is inconclusive."""
    words = {verdict.verdict for verdict in verdicts}
    return next((word for word in _ORDER if word in words), Word.INCONCLUSIVE)


def _same_series(one: Verdict, other: Verdict) -> bool:
    return (one.target, one.series) == (other.target, other.series)


def _tests(series: str, cells: Sequence[Cell], nights: Nights, rules: GateRules) -> list[_Test]:
    mine = [cell for cell in cells if cell.series == series and cell.metric != ERRORS]
    beta = slope(mine, nights, rules)
    tests: list[_Test] = []
    for metric in dict.fromkeys(cell.metric for cell in mine):
        group = [cell for cell in mine if cell.metric == metric]
        past = [adjust(cell.past, nights.control_past, beta) for cell in group]
        now = [cell.tonight - beta * _or_zero(nights.control_tonight) for cell in group]
        again = [cell.again - beta * _or_zero(nights.control_again) for cell in group]
        owns = [own(y, rules) for y in past]
        known = [o.variance for o in owns if o is not None]
        peers = sum(known) / len(known) if known else 0.0
        cv = rules.prior_cv[metric]
        for cell, y, y1, y2, o in zip(group, past, now, again, owns, strict=True):
            enough = o is not None and o.nights >= rules.least_nights
            expected = level(o, peers, cv, rules) if o is not None and enough else None
            tests.append(_test(series, metric, cell.level, (cell.level,), y, y1, y2, expected))
        if len(group) > 1:
            means = np.mean(past, axis=0)
            o = own(means, rules)
            enough = o is not None and o.nights >= rules.least_nights
            expected = mean_over_levels(o, cv, rules) if o is not None and enough else None
            levels = tuple(cell.level for cell in group)
            tests.append(
                _test(series, metric, None, levels, means, float(np.mean(now)), float(np.mean(again)), expected)
            )
    return tests


def _or_zero(x: float) -> float:
    return 0.0 if math.isnan(x) else x


def _test(
    series: str,
    metric: str,
    at: int | None,
    levels: tuple[int, ...],
    past: Floats,
    now: float,
    again: float,
    expected: Expected | None,
) -> _Test:
    known = past[~np.isnan(past)]
    warn = now - float(np.median(known)) if expected is None and len(known) and not math.isnan(now) else None
    return _Test(series, metric, at, levels, now, again, expected, len(known), warn)


def _family(
    target: str, tests: Sequence[_Test], away: float | None, *, confirmed: bool, rules: GateRules
) -> list[Verdict]:
    ready = [test for test in tests if test.expected is not None and not math.isnan(test.tonight)]
    worse = np.array([test.p(test.tonight) for test in ready])
    up = dict(zip(map(id, ready), _benjamini_hochberg(worse, rules.fdr), strict=True))
    down = dict(zip(map(id, ready), _benjamini_hochberg(1 - worse, rules.fdr), strict=True))
    p_of = dict(zip(map(id, ready), worse, strict=True))
    found: list[Verdict] = []
    for test in tests:
        if id(test) not in p_of:
            found.append(_unready(target, test, rules))
            continue
        word, reason = Word.UNCHANGED, ""
        if away is not None:
            word, reason = Word.INCONCLUSIVE, _control_words(away)
        elif up[id(test)] and math.expm1(test.effect) >= rules.min_effect:
            word, reason = _decide(test, tests, Word.REGRESSED, confirmed, rules)
        elif down[id(test)] and math.expm1(-test.effect) >= rules.min_effect:
            word, reason = _decide(test, tests, Word.IMPROVED, confirmed, rules)
        found.append(_verdict(target, test, p_of[id(test)], len(ready), word, reason, rules))
    return found


def _control_words(away: float) -> str:
    return f"control moved by {away:+.1%}"


def _decide(test: _Test, tests: Sequence[_Test], word: Word, confirmed: bool, rules: GateRules) -> tuple[Word, str]:
    """A candidate for `word`: seen again, not seen again, or not yet looked at."""
    if not confirmed:
        return Word.INCONCLUSIVE, CANDIDATE
    if not math.isnan(test.again):
        seen = _seen_again(test, word, rules)
    elif test.level is None:  # only some levels were measured again: the mean stands or falls with them
        parts = [t for t in tests if (t.series, t.metric) == (test.series, test.metric) and t.level is not None]
        seen = any(t.expected is not None and not math.isnan(t.again) and _seen_again(t, word, rules) for t in parts)
    else:
        return Word.INCONCLUSIVE, CANDIDATE
    return (word, "confirmed") if seen else (Word.UNCHANGED, NOT_CONFIRMED)


def _seen_again(test: _Test, word: Word, rules: GateRules) -> bool:
    assert test.expected is not None
    sign = 1 if word is Word.REGRESSED else -1
    p = test.p(test.again) if sign > 0 else 1 - test.p(test.again)
    both = sign * (test.effect + test.again - test.expected.mean) / 2
    return p < rules.confirm_p and math.expm1(both) >= rules.min_effect


def _unready(target: str, test: _Test, rules: GateRules) -> Verdict:
    if math.isnan(test.tonight):
        reason = NO_DATA
    else:
        reason = f"{nights_words(test.nights)} of history; {rules.least_nights} are needed"
        if test.warn is not None and math.expm1(test.warn) >= rules.warn_effect:
            reason += f"; warning: {math.expm1(test.warn):+.0%}"
    effect = None if test.warn is None else math.expm1(test.warn)
    word = Word.INCONCLUSIVE.value
    return Verdict(target, test.series, test.metric, test.level, effect, None, None, None, None, word, reason)


def _verdict(target: str, test: _Test, p: float, family: int, word: Word, reason: str, rules: GateRules) -> Verdict:
    expected = test.expected
    assert expected is not None
    half = float(student.ppf(0.975, expected.df)) * expected.sd
    seen = float(student.isf(rules.fdr / family, expected.df)) * expected.sd
    return Verdict(
        target,
        test.series,
        test.metric,
        test.level,
        math.expm1(test.effect),
        math.expm1(test.effect - half),
        math.expm1(test.effect + half),
        float(p),
        max(rules.min_effect, math.expm1(seen)),
        word.value,
        reason,
    )


def _benjamini_hochberg(p: Floats, q: float) -> list[bool]:
    """Which hypotheses fall at false discovery rate q (Benjamini & Hochberg 1995)."""
    m = len(p)
    if not m:
        return []
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= q * np.arange(1, m + 1) / m)
    if not len(below):
        return [False] * m
    limit = p[order][below[-1]]
    return [bool(value <= limit) for value in p]
