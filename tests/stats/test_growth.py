"""Does a backlog grow? Against queues of known capacity."""

import numpy as np
import pytest

from tasks.stats.growth import Growth, growth
from tests.fakes.queue import Server, starts

STEADY = Server(slots=32, service_s=0.04)
DRAWN = Server(slots=16, service_s=0.05, cv=0.5)


def seen(server: Server, load: float, seed: int = 1, seconds: float = 10.0) -> Growth:
    rng = np.random.default_rng(seed)
    due = starts(rng, load * server.capacity_rps, seconds)
    found = growth(due, server.answers(rng, due))
    assert found is not None
    return found


def test_a_target_that_keeps_up_has_none() -> None:
    found = seen(STEADY, 0.95)
    assert (found.slope, found.share, found.grows) == (pytest.approx(0.0, abs=1e-9), 1.0, False)


@pytest.mark.parametrize("load", [1.03, 1.2, 3.0])
def test_what_an_overloaded_target_finishes_is_its_capacity_whatever_was_due(load: float) -> None:
    found = seen(STEADY, load)
    assert found.grows
    assert load * found.share == pytest.approx(1.0, rel=0.005)


def test_how_long_a_request_takes_and_how_long_it_takes_to_fill_up_do_not_matter() -> None:
    slow = Server(slots=100, service_s=4.0)  # at 20 a second a queue begins after 5 of 10 seconds
    assert not seen(slow, 0.9).grows
    assert seen(slow, 2.0, seconds=40).grows


def test_the_error_of_a_saturated_target_is_that_of_its_finished_work() -> None:
    """1.05 times the capacity, a hundred times: nine in ten or more of the intervals hold 0.05."""
    found = [seen(DRAWN, 1.05, seed) for seed in range(100)]
    inside = [abs(one.slope - 0.05) <= 2.262 * one.error for one in found]
    assert np.mean(inside) >= 0.9
    assert np.std([one.slope for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.25)


def test_a_target_near_its_capacity_is_seldom_said_to_fall_behind() -> None:
    grows = [seen(DRAWN, 0.95, seed).grows for seed in range(60)]
    assert np.mean(grows) <= 0.1


def test_the_slope_is_that_of_a_line_through_the_means_of_ten_pieces() -> None:
    due = np.arange(200) / 20
    took = 0.1 + 0.03 * due + np.random.default_rng(2).normal(0, 0.02, 200)
    means = [(due[k : k + 20].mean(), took[k : k + 20].mean()) for k in range(0, 200, 20)]
    x, y = np.array(means).T
    found = growth(due, took)
    assert found is not None and found.slope == pytest.approx(float(np.polyfit(x, y, 1)[0]))


def test_a_handful_of_requests_says_nothing() -> None:
    assert growth(np.arange(19.0), np.ones(19)) is None
    assert growth(np.zeros(40), np.ones(40)) is None  # all due at once
