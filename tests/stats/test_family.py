import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.stats.family import benjamini_hochberg


def slow_benjamini_hochberg(p: list[float], q: float) -> list[bool]:
    """As the paper says it: reject the k smallest, k being the largest with p(k) <= k q / m."""
    m = len(p)
    k = max((k for k in range(1, m + 1) if sorted(p)[k - 1] <= q * k / m), default=0)
    return [k > 0 and value <= sorted(p)[k - 1] for value in p]


@given(st.lists(st.floats(0, 0.3), max_size=30))
def test_it_rejects_what_the_paper_rejects(p: list[float]) -> None:
    assert benjamini_hochberg(np.array(p), 0.1) == slow_benjamini_hochberg(p, 0.1)


def test_many_small_values_carry_a_middling_one() -> None:
    assert benjamini_hochberg(np.array([0.001, 0.002, 0.003, 0.09]), 0.1) == [True] * 4
    assert benjamini_hochberg(np.array([0.9, 0.8, 0.7, 0.09]), 0.1) == [False] * 4
