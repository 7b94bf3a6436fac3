"""Against SciPy's distributions, which the product does not import."""

import pytest
from scipy.stats import betabinom, binom

from tasks.stats.mid_p import beta_binomial, binomial


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (7, 0.01), (40, 0.5), (1000, 0.002)])
def test_a_binomial_count(n: int, p: float) -> None:
    law = binom(n, p)
    for k in {0, 1, n // 2, n}:
        assert binomial(k, n, p) == pytest.approx(float(law.sf(k) + law.pmf(k) / 2), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("n", "a", "b"), [(1, 1.0, 1.0), (40, 0.05, 0.05), (1000, 2.5, 1247.5), (20000, 0.5, 300.0)])
def test_a_beta_binomial_count(n: int, a: float, b: float) -> None:
    law = betabinom(n, a, b)
    for k in {0, 1, n // 50, n}:
        assert beta_binomial(k, n, a, b) == pytest.approx(float(law.sf(k) + law.pmf(k) / 2), rel=1e-6, abs=1e-9)
