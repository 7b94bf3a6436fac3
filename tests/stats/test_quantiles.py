from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.stats.quantiles import type8


def slow_type8(values: list[float], q: Fraction) -> float:
    """Hyndman & Fan's definition 8, written out: the order statistics are placed at (k - 1/3) / (n + 1/3)."""
    ordered = sorted(values)
    n = len(ordered)
    places = [(Fraction(k) - Fraction(1, 3)) / (n + Fraction(1, 3)) for k in range(1, n + 1)]
    if q <= places[0]:
        return ordered[0]
    for k in range(1, n):
        if q <= places[k]:
            share = float((q - places[k - 1]) / (places[k] - places[k - 1]))
            return ordered[k - 1] + share * (ordered[k] - ordered[k - 1])
    return ordered[-1]


@given(
    st.lists(st.floats(0.001, 1000), min_size=1, max_size=60),
    st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(19, 20), Fraction(99, 100)]),
)
def test_the_quantile_is_hyndman_and_fans_eighth(values: list[float], q: Fraction) -> None:
    found, _ = type8(np.sort(np.array(values)), float(q))
    assert abs(found - slow_type8(values, q)) <= 1e-9 * max(values)


def test_the_median_of_an_odd_number_is_the_middle_one() -> None:
    assert type8(np.array([1.0, 2.0, 9.0]), 0.5) == (2.0, 1)


def test_it_names_the_order_statistic_it_leans_on() -> None:
    _, at = type8(np.arange(1.0, 21.0), 0.95)
    assert at == 19
