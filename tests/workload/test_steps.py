"""Stamps that were rounded: found, and laid out again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.workload.steps import resolution, spread

SECOND = 10**9
MOONCAKE = np.array([0, 3000, 5999, 9000, 12000, 15000, 18000, 20999, 24000, 27000, 30000, 33000]) * 10**6


def test_the_resolution_is_the_largest_step_every_arrival_falls_on():
    assert resolution(np.arange(50) * 3 * SECOND + 17) == 3 * SECOND
    assert resolution(np.arange(50) * 7_000_000) == 7_000_000
    assert resolution(np.arange(9) * 3 * SECOND) is None
    assert resolution(np.zeros(50, dtype=np.int64)) is None


def test_a_step_that_some_stamps_miss_by_a_rounding_is_found():
    assert resolution(MOONCAKE) == 3 * SECOND


def test_one_stamp_in_the_middle_of_a_step_means_a_finer_one():
    assert resolution(np.sort(np.append(MOONCAKE, 16_700 * 10**6))) == 1_000_000


@given(st.lists(st.integers(0, 10**12), min_size=20, max_size=60, unique=True), st.sampled_from([1, 1000, 10**6]))
def test_stamps_at_random_have_no_step_but_their_own(stamps, unit):
    found = resolution(np.array(stamps) * unit)
    assert found is not None
    assert all((stamp - min(stamps)) * unit % found == 0 for stamp in stamps)


def test_spread_stamps_stay_in_their_step_and_in_order():
    stamps = np.repeat(MOONCAKE, 40)
    laid = spread(stamps, 3 * SECOND, seed=5)
    assert (np.diff(laid) >= 0).all()
    assert ((laid - np.repeat(np.arange(12) * 3 * SECOND, 40)) // (3 * SECOND) == 0).all()
    assert len(np.unique(laid)) == len(laid)


def test_the_same_seed_lays_them_out_alike_and_another_does_not():
    stamps = np.repeat(MOONCAKE, 3)
    assert (spread(stamps, SECOND, 1) == spread(stamps, SECOND, 1)).all()
    assert (spread(stamps, SECOND, 1) != spread(stamps, SECOND, 2)).any()


def test_within_a_step_they_lie_evenly():
    laid = spread(np.zeros(20_000, dtype=np.int64), SECOND, 3) / SECOND
    assert laid.mean() == pytest.approx(0.5, abs=0.01)
    assert np.histogram(laid, 10, (0, 1))[0].min() > 1800
