"""History of one cell -> where tonight should lie: mean, moderated spread, degrees of freedom."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from tasks.stats.nights import Floats
from tasks.stats.rules import GateRules

LEAST_SD = 1e-9


@dataclass(frozen=True, slots=True)
class Own:
    """What the cell's nights say by themselves, outlying nights dropped. With a spread that was carried over, `nights`
    and `df` count the nights of both, `mean` and `n` the cell's own alone."""

    mean: float
    variance: float
    n: int
    nights: int  # before any was dropped
    dropped: int
    df: float


@dataclass(frozen=True, slots=True)
class Expected:
    """Tonight − mean, over `sd`, follows Student's t with `df` degrees of freedom when nothing changed, but for the
    share of nights that are `outlying`."""

    mean: float
    sd: float  # s'·√(1 + 1/n)
    df: float
    nights: int
    outlying: float

    def half_width(self, level: float) -> float:
        """Of the interval that holds an unchanged night with this chance. Outlying nights happen, and are outside: so
        it is widened for the others, by half of what it leaves out at most, or a few bad nights would make it void."""
        inside = min(level / (1 - self.outlying), (1 + level) / 2)
        return float(stdtrit(self.df, (1 + inside) / 2)) * self.sd


def own(past: Floats, rules: GateRules) -> Own | None:
    """Hampel's rule (|y − median| > 3.5 · 1.4826 · MAD is dropped), then mean and variance. None without two nights."""
    known = past[~np.isnan(past)]
    return _own(known, rules) if len(known) >= 2 else None


def with_carried(past: Floats, carried: Floats, rules: GateRules) -> Own | None:
    """Location from the cell's own nights, variance pooled with that of the segment before (each about its own mean).

    Until there are `many_nights` of its own; from one night on, whose luck √(1 + 1/n) accounts for. As `own` where too
    little is carried to tell a spread.
    """
    known = past[~np.isnan(past)]
    old = own(carried, rules)
    if old is None or old.nights < rules.carried_nights or not 1 <= len(known) < rules.many_nights:
        return own(past, rules)
    mine = _own(known, rules) if len(known) > 1 else Own(float(known[0]), 0.0, 1, 1, 0, 0.0)
    df = mine.df + old.df
    variance = (mine.df * mine.variance + old.df * old.variance) / df
    return Own(mine.mean, variance, mine.n, mine.nights + old.nights, mine.dropped + old.dropped, df)


def _own(known: Floats, rules: GateRules) -> Own:
    nights = len(known)
    if nights >= rules.hampel_from:
        away = np.abs(known - np.median(known))
        mad = float(np.median(away))
        if mad > 0:
            known = known[away <= rules.hampel_k * 1.4826 * mad]
    n = len(known)
    return Own(float(known.mean()), float(known.var(ddof=1)), n, nights, nights - n, n - 1.0)


def level(cell: Own, peers: float, cv: float, rules: GateRules) -> Expected:
    """A level; `peers`: mean variance over the levels of its metric; `cv`: the metric's prior.

    Moderated variance: (d0·s0² + df·s²) / (d0 + df), with d0 + df degrees of freedom (Smyth 2004); with fewer where
    nights are few and vary more than the prior says.
    """
    if cell.nights < rules.many_nights:
        return _leaning(cell, cv * cv, peers, rules)
    return _moderated(cell, peers, rules.level_df, rules)


def mean_over_levels(cell: Own, cv: float, rules: GateRules) -> Expected:
    """The mean over levels, whose luck is partly its levels' own and averages out: half the prior variance, however
    many the nights. (With all of it below `many_nights`, +10 % after ten quiet nights is found half as often.)"""
    prior = cv * cv / 2
    if cell.nights < rules.many_nights:
        return _leaning(cell, prior, cell.variance, rules)
    return _moderated(cell, prior, rules.mean_df, rules)


def _leaning(cell: Own, prior: float, seen: float, rules: GateRules) -> Expected:
    """Few nights: on the prior, or on what was `seen` where that is more. A night's luck is shared by the levels, so
    what was seen is no second witness: only the prior's share in it counts as degrees of freedom."""
    s0 = max(prior, seen)
    return _moderated(cell, s0, rules.few_df, rules, known=rules.few_df * prior / s0)


def _moderated(cell: Own, s0: float, d0: float, rules: GateRules, known: float | None = None) -> Expected:
    """`known`: the degrees of freedom that s0 brings, where they are not its weight."""
    variance = (d0 * s0 + cell.df * cell.variance) / (d0 + cell.df)
    # A history without any spread has no sd to divide by: an equal night is then p = .5, any other a sure move.
    sd = max(float(np.sqrt(variance * (1 + 1 / cell.n))), LEAST_SD)
    df = cell.df + (d0 if known is None else known)
    outlying = (cell.dropped + rules.outlying_prior) / (cell.nights + rules.outlying_weight)
    return Expected(cell.mean, sd, df, cell.nights, outlying)
