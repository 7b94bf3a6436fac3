"""Slow change over weeks: a one-sided cumulative sum of the across-level means against the frozen anchor. Pure.

The gate asks of one night; a change of half a per cent a night passes it for weeks. Here every night adds what it is
above the anchor, in standard deviations and less an allowance, until the sum says what no single night could
(Page 1954; tabular CUSUM, Montgomery, Introduction to Statistical Quality Control, 9.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from storage.records import Drift, Verdict, Word
from tasks.stats.control import luck
from tasks.stats.hypotheses import Hypothesis, hypotheses
from tasks.stats.nights import ERRORS, Floats, Nights, arrange
from tasks.stats.rules import GateRules

Key = tuple[str, str, str]  # target, series, metric


@dataclass(frozen=True, slots=True)
class DriftRules:
    """C = max(0, C + min(z, cap) − allowance); alarm at C > limit."""

    allowance: float = 0.5
    cap: float = 2.5  # one outlying night is not a drift
    limit: float = 8.0
    least_nights: int = 10  # of the anchor; fewer do not say where it lies
    calm_z: float = 1.0  # a night below this looks like the anchor again
    calm_nights: int = 3  # so many of them running, and an alarm is over: C begins anew
    slope_nights: int = 60  # the most nights that the slope is taken over


def cusum(
    history: pl.DataFrame,
    tonight: pl.DataFrame,
    *,
    control: str | None = None,
    before: Sequence[Drift] = (),
    carried: pl.DataFrame | None = None,
    anchor: int = 30,
    rules: GateRules = GateRules(),  # noqa: B008 - frozen
    drift: DriftRules = DriftRules(),
) -> list[Drift]:
    """Where each across-level mean stands after the last night of `tonight`; of a series with one level, that level.

    Frames as the gate's. The first `anchor` nights of `history` are what is compared with; its other nights, and those
    of `tonight` (one or more), are added one after the other. `before`: what earlier nights came to, oldest first, for
    a caller who keeps it: then `history` is the anchor alone, and a night costs the same however many came before.
    `carried`: as the gate's.
    Nothing for a metric that was not measured tonight, or whose anchor is shorter than `least_nights`.
    """
    known = _nights(history)
    last = known[anchor - 1] if len(known) >= anchor else math.inf
    stands: dict[Key, list[Drift]] = {}
    for one in before:
        stands.setdefault((one.target, one.series, one.metric), []).append(one)
    old = arrange(carried if carried is not None else history.clear(), history.clear(), None, control)
    frozen = history.filter(pl.col("night") <= last) if known else history
    since = [(history, night) for night in known if night > last] + [(tonight, night) for night in _nights(tonight)]
    found: list[Drift] = []
    for frame, night in since:
        found = []
        for target, test in _means(frozen, frame.filter(pl.col("night") == night), control, old, rules, drift):
            mine = stands.setdefault((target, test.series, test.metric), [])
            mine.append(_step(target, test, night, mine, drift))
            found.append(mine[-1])
    return found


def raised(verdicts: Sequence[Verdict], drifts: Sequence[Drift], labels: dict[Key, str]) -> list[Verdict]:
    """The same verdicts, those regressed of which a drift alarms; a night that looks like the anchor again is not.
    `labels`: the night of each onset, in words."""
    alarms = {(d.target, d.series, d.metric): d for d in drifts if d.alarm and d.calm == 0}
    return [_raised(verdict, verdicts, alarms, labels) for verdict in verdicts]


def _raised(verdict: Verdict, verdicts: Sequence[Verdict], alarms: dict[Key, Drift], labels: dict[Key, str]) -> Verdict:
    key = (verdict.target, verdict.series, verdict.metric)
    if key not in alarms or verdict.verdict == Word.REGRESSED:
        return verdict
    alone = sum((v.target, v.series, v.metric) == key for v in verdicts) == 1
    if verdict.level is not None and not alone:
        return verdict
    return replace(verdict, verdict=Word.REGRESSED.value, reason=drift_words(alarms[key], labels.get(key)))


def is_drift(verdict: Verdict) -> bool:
    return verdict.verdict == Word.REGRESSED and verdict.reason.startswith("drift")


def drift_words(drift: Drift, onset: str | None) -> str:
    """`drift of +0.5 % a night since 2026-11-03`."""
    pace = "" if drift.slope is None else f" of {100 * drift.slope:+.1f} % a night"
    return f"drift{pace}" + ("" if onset is None else f" since {onset}")


def theil_sen(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float | None:
    """Median of the slopes between all pairs (Sen 1968); None below three points."""
    if len(x) < 3:
        return None
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    a, b = np.triu_indices(len(xs), 1)
    return float(np.median((ys[b] - ys[a]) / (xs[b] - xs[a])))


def _nights(frame: pl.DataFrame) -> list[int]:
    return sorted(frame["night"].unique().to_list()) if frame.width else []


def _means(
    frozen: pl.DataFrame,
    night: pl.DataFrame,
    control: str | None,
    old: Nights,
    rules: GateRules,
    drift: DriftRules,
) -> list[tuple[str, Hypothesis]]:
    """The means over levels of each target and series, with the machine's luck taken off as the gate does."""
    nights = arrange(frozen, night, None, control)
    found: list[tuple[str, Hypothesis]] = []
    for target, cells in nights.targets.items():
        for series in dict.fromkeys(cell.series for cell in cells):
            mine = [cell for cell in cells if cell.series == series and cell.metric != ERRORS]
            carried = old.carried(target)
            tests = hypotheses(mine, luck(mine, nights, rules, carried), rules, carried)
            levels = {m: sum(t.metric == m for t in tests) for m in {t.metric for t in tests}}
            found += [(target, t) for t in tests if t.level is None or levels[t.metric] == 1]
    return [
        (target, t)
        for target, t in found
        if t.expected is not None and not math.isnan(t.tonight) and t.nights >= drift.least_nights
    ]


def _step(target: str, test: Hypothesis, night: int, past: Sequence[Drift], rules: DriftRules) -> Drift:
    assert test.expected is not None
    last = past[-1] if past else None
    number = night if last is None else max(night, last.night + 1)
    z = test.effect / test.expected.sd
    c = max(0.0, (0.0 if last is None else last.c) + min(z, rules.cap) - rules.allowance)
    calm = last.calm + 1 if last is not None and last.alarm and z <= rules.calm_z else 0
    if calm >= rules.calm_nights:
        c = 0.0
    onset = None if c == 0 else number - 1 if last is None else last.night if last.onset is None else last.onset
    effect = math.expm1(test.effect)
    return Drift(
        target, test.series, test.metric, number, effect, z, c, onset,
        _slope(past, number, effect, onset, rules), calm if c > 0 else 0, c > rules.limit,
    )  # fmt: skip


def _slope(past: Sequence[Drift], night: int, effect: float, onset: int | None, rules: DriftRules) -> float | None:
    if onset is None:
        return None
    points = [(d.night, math.log1p(d.effect)) for d in past[-rules.slope_nights :] if d.night >= onset]
    points.append((night, math.log1p(effect)))
    slope = theil_sen([float(x) for x, _ in points], [y for _, y in points])
    return None if slope is None else math.expm1(slope)
