"""A replay with a stress on top: what the legs are told, what it costs, and whose numbers are whose."""

import polars as pl
import pytest

from flows.forecast import forecast
from flows.specs import replay_spec
from storage.errors import UsageError
from storage.records import STRESS, Series
from tasks.load.spec import StressSpec
from tasks.summarise import stress_cells

ARRIVALS = pl.DataFrame(
    {
        "offset_ns": [k * 10**9 for k in range(101)],
        "model": ["m"] * 101,
        "input_tokens": [10] * 101,
        "output_tokens": [10] * 101,
        "duration_ns": [500_000_000] * 101,
    }
)


def test_a_leg_is_told_of_the_stress(make, setting):
    plan = make(replay={"stress": "rate=50,from=1m,until=5m"})
    assert replay_spec(setting(plan), plan.targets[0], "/w.parquet").stress == StressSpec(50.0, 0, 60.0, 300.0)
    users = make(replay={"stress": "concurrency=8"})
    assert replay_spec(setting(users), users.targets[0], "/w.parquet").stress == StressSpec(None, 8, 0.0, None)
    assert replay_spec(setting(make()), make().targets[0], "/w.parquet").stress is None


@pytest.mark.parametrize(
    ("stress", "requests"),
    [
        ("", 101),
        ("rate=5", 601),
        ("rate=5,from=40s", 401),
        ("rate=5,from=40s,until=60s", 201),
        ("concurrency=4,until=10s", 101 + 4 * 21),  # half a second each, and one more that is under way
    ],
)
def test_the_forecast_counts_it(make, stress, requests):
    assert forecast(make(replay={"stress": stress}), ARRIVALS, sweep=False, replay=True).requests == requests


def test_a_stress_after_the_end_of_the_replay_is_refused_before_anything_is_sent(make):
    with pytest.raises(UsageError, match="the stress begins after 200 s, and the replay ends after 100 s"):
        forecast(make(replay={"stress": "rate=5,from=200s"}), ARRIVALS, sweep=False, replay=True)


def test_a_run_without_a_replay_has_no_estimates_of_a_stress():
    assert stress_cells(pl.LazyFrame(), []) == []
    assert Series.STRESS == STRESS
