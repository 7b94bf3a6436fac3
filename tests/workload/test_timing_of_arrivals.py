"""Fast against slow and obvious, and known streams against their theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.workload.timing import concurrency_of, dispersion, gaps_of, local_variation, rate_curves

SECOND = 10**9


def ns(*seconds: float) -> np.ndarray:
    return np.array([round(s * SECOND) for s in seconds], dtype=np.int64)


def test_a_rate_curve_counts_arrivals_in_each_step():
    one, ten, minute = rate_curves(ns(0, 0.5, 0.999, 1, 12, 61))
    assert one.counts[:3] == (3, 1, 0)
    assert (len(one.counts), sum(one.counts), one.peak_rps) == (62, 6, 3.0)
    assert ten.counts == (4, 1, 0, 0, 0, 0, 1)
    assert minute.counts == (5, 1)


def test_a_curve_too_fine_for_its_span_is_left_out():
    assert [curve.step_s for curve in rate_curves(ns(0, 20_000))] == [10, 60]


def test_gaps_of_a_steady_stream():
    gaps = gaps_of(np.arange(0, 100, dtype=np.int64) * SECOND, (50,))
    assert gaps is not None
    assert (gaps.mean_s, gaps.cv, gaps.local_cv, gaps.quantiles_s) == (1.0, 0.0, 0.0, {"p50": 1.0})
    assert gaps.dispersion == {"1": 0.0, "10": 0.0, "60": None, "300": None}


def test_the_longest_idle_gap_and_when_it_began():
    gaps = gaps_of(ns(0, 1, 4, 5), (50,))
    assert gaps is not None
    assert (gaps.longest_idle_s, gaps.longest_idle_at_s) == (3.0, 1.0)


def test_one_arrival_has_no_gaps_and_simultaneous_ones_have_no_variation():
    assert gaps_of(ns(0), (50,)) is None
    together = gaps_of(ns(0, 0, 0), (50,))
    assert together is not None
    assert (together.cv, together.local_cv, together.mean_s) == (None, None, 0.0)


def test_a_poisson_stream_has_variation_and_dispersion_near_one():
    offsets = np.cumsum(np.random.default_rng(1).exponential(0.05, 40_000) * SECOND).astype(np.int64)
    gaps = gaps_of(offsets - offsets[0], (50,))
    assert gaps is not None
    assert gaps.cv == pytest.approx(1, abs=0.03)
    assert gaps.local_cv == pytest.approx(1, abs=0.03)
    assert gaps.dispersion["1"] == pytest.approx(1, abs=0.1)
    assert gaps.dispersion["10"] == pytest.approx(1, abs=0.3)


def test_a_slow_change_of_rate_raises_the_cv_and_not_the_local_one():
    rng = np.random.default_rng(2)
    offsets = np.cumsum(np.concatenate([rng.exponential(0.01, 5000), rng.exponential(1, 5000)]) * SECOND)
    gaps = gaps_of(offsets.astype(np.int64), (50,))
    assert gaps is not None
    assert gaps.cv is not None and gaps.cv > 1.5
    assert gaps.local_cv == pytest.approx(1, abs=0.06)


def test_local_variation_of_literal_gaps():
    # ((1-3)/4)² = 1/4, ((3-1)/4)² = 1/4: 3 · mean = 0.75; the pair of zeros says nothing
    assert local_variation(np.array([1.0, 3.0, 1.0])) == 0.75
    assert local_variation(np.array([0.0, 0.0])) is None


def test_dispersion_of_literal_counts_over_whole_windows_only():
    # 2, 0, 2, 0, 2 in five whole seconds: variance 1.2, mean 1.2; what lies in the sixth is cut
    assert dispersion(ns(0, 0.5, 2, 2.5, 4, 4.5, 5.2), 1) == pytest.approx(1.0)
    assert dispersion(ns(0, 4.9), 1) is None


def test_concurrency_of_literal_requests():
    found = concurrency_of(ns(0, 1, 4), ns(2, 1, 2), unknown=3)
    assert found is not None
    assert (found.max, found.unknown) == (2, 3)
    assert found.mean == pytest.approx(5 / 6)
    assert sum(found.curve) * found.step_s == pytest.approx(5, abs=0.01)


def test_a_request_that_ends_when_another_starts_has_left():
    found = concurrency_of(ns(0, 1), ns(1, 1), unknown=0)
    assert found is not None
    assert found.max == 1


def test_without_durations_there_is_no_concurrency():
    assert concurrency_of(ns(), ns(), unknown=5) is None


REQUESTS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), min_size=1, max_size=25)


@given(REQUESTS)
def test_concurrency_agrees_with_counting_at_every_instant(requests):
    """Slow and obvious: look at each millisecond."""
    starts = np.array([s for s, _ in requests], dtype=np.int64) * 10**6
    lasts = np.array([d for _, d in requests], dtype=np.int64) * 10**6
    found = concurrency_of(starts, lasts, unknown=0)
    assert found is not None
    end = max(s + d for s, d in requests)
    at = [sum(s <= t < s + d for s, d in requests) for t in range(end)]
    assert found.max == max(at)
    assert found.mean == pytest.approx(sum(at) / end)
    edges = np.linspace(0, end, len(found.curve) + 1)
    busy = np.interp(edges, np.arange(end + 1), np.concatenate(([0], np.cumsum(at))))
    assert found.curve == pytest.approx(np.diff(busy) / np.diff(edges), abs=0.002)


def test_a_log_of_many_days_has_a_coarser_curve_instead_of_none():
    (curve,) = rate_curves(ns(0, 9 * 86_400))
    assert (curve.step_s, len(curve.counts), sum(curve.counts)) == (600, 9 * 144 + 1, 2)
