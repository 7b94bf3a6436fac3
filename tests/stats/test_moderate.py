"""Where tonight should lie: what spread is known beforehand, and what an interval holds."""

import numpy as np
import pytest
from scipy.stats import t as student

from tasks.stats.control import Luck
from tasks.stats.moderate import Expected, level, mean_over_levels, own
from tasks.stats.rules import GateRules

RULES = GateRules()


def nights(count: int, sd: float, seed: int = 1) -> np.ndarray:
    """Of exactly this spread."""
    drawn = np.random.default_rng(seed).standard_normal(count)
    return sd * (drawn - drawn.mean()) / drawn.std(ddof=1)


def test_few_quiet_nights_lean_on_the_prior_which_is_known_beforehand() -> None:
    cell = own(nights(5, 0.02), RULES)
    assert cell is not None
    found = level(cell, 0.02**2, 0.05, RULES)
    assert found.df == 4 + RULES.few_df
    assert found.sd == pytest.approx(np.sqrt((8 * 0.05**2 + 4 * 0.02**2) / 12 * 1.2))


@pytest.mark.parametrize("of_mean", [False, True])
def test_what_few_nights_were_seen_to_vary_by_is_not_known_beforehand(of_mean: bool) -> None:
    """Spread 4 times the prior's: it is believed, with a sixteenth of the prior's degrees of freedom."""
    cell, prior = own(nights(5, 0.2), RULES), 0.05
    assert cell is not None
    found = mean_over_levels(cell, prior * np.sqrt(2), RULES) if of_mean else level(cell, 0.2**2, prior, RULES)
    assert found.df == pytest.approx(4 + RULES.few_df / 16)
    assert found.sd == pytest.approx(0.2 * np.sqrt(1.2))


def test_an_interval_holds_95_of_100_nights_the_outlying_ones_counted() -> None:
    """Of 100 nights 2 are outside whatever the interval; so it holds 95 of the other 98."""
    found = Expected(0.0, 2.0, 30.0, 30, outlying=0.02)
    inside = 2 * student.cdf(found.half_width(0.95) / 2.0, 30) - 1
    assert 0.98 * inside == pytest.approx(0.95)


def test_an_interval_does_not_grow_without_end_where_many_nights_were_outlying() -> None:
    wide, wider = (Expected(0.0, 1.0, 30.0, 30, outlying=share).half_width(0.95) for share in (0.04, 0.5))
    assert wide == wider == pytest.approx(student.ppf(1 - 0.025 / 2, 30))


def test_outlying_nights_are_those_that_were_dropped_and_a_few_more_while_few_were_seen() -> None:
    past = np.append(np.linspace(-0.02, 0.02, 29), 1.0)
    cell = own(past, RULES)
    assert cell is not None
    assert (cell.nights, cell.n, cell.dropped) == (30, 29, 1)
    assert level(cell, cell.variance, 0.05, RULES).outlying == pytest.approx(1.5 / 45)


@pytest.mark.parametrize(
    ("beta", "nights", "needed"),
    [(0.5, 30, RULES.confirm_p), (0.0, 20, RULES.confirm_p_alone), (0.0, 19, RULES.confirm_p_young)],
)
def test_a_second_look_must_reach_more_where_it_shares_the_luck_of_the_first(
    beta: float, nights: int, needed: float
) -> None:
    none = np.zeros(nights)
    assert Luck(beta, none, 0.0, 0.0, none[:0]).confirm_p(nights, RULES) == needed
    assert RULES.confirm_p_alone < RULES.confirm_p_young < RULES.confirm_p
