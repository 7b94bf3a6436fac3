"""What a run will cost, against sums done by hand."""

import polars as pl
import pytest

from config.load import Load
from flows.forecast import forecast

TRAFFIC = pl.DataFrame(
    {
        "offset_ns": [0, 10_000_000_000, 60_000_000_000],
        "input_tokens": [100, 200, 300],
        "output_tokens": [10, 20, 30],
        "duration_ns": [100_000_000, 200_000_000, 900_000_000],
    },
    schema={"offset_ns": pl.Int64, "input_tokens": pl.Int64, "output_tokens": pl.Int64, "duration_ns": pl.Int64},
)
BARE = TRAFFIC.with_columns(pl.lit(None, pl.Int64).alias(name) for name in TRAFFIC.columns[1:])


def test_a_sweep_counts_warm_up_and_cool_down_and_not_the_control(make):
    cost = forecast(make(sweep={"levels": [4], "requests": 40, "blocks": 5}), TRAFFIC, sweep=True, replay=False)
    assert cost.requests == 40 + 5 * (4 + 3)
    assert (cost.input_tokens, cost.output_tokens) == (75 * 200, 75 * 20)
    assert (cost.latency_s, cost.assumed) == (0.2, False)


def test_two_targets_cost_twice(make, two):
    one = forecast(make(), TRAFFIC, sweep=True, replay=True)
    both = forecast(two, TRAFFIC, sweep=True, replay=True)
    assert both.requests == 2 * one.requests
    assert both.output_tokens == 2 * one.output_tokens


def test_a_replay_takes_its_span_at_its_speed(make):
    def minutes(speed):
        return forecast(make(replay={"speed": speed}), TRAFFIC, sweep=False, replay=True).minutes

    assert forecast(make(), TRAFFIC, sweep=False, replay=True).requests == 3
    assert (minutes(1) - minutes(10)) * 60 == pytest.approx(60 - 6)


def test_an_open_loop_sends_rate_times_duration(make):
    cost = forecast(make(), TRAFFIC, sweep=False, replay=False, load=Load(rate_rps=20, duration_s=30))
    assert cost.requests == 600


def test_money_is_known_only_where_every_target_has_a_price(make, two):
    priced = make(prices={"m": {"input": 1.0, "output": 10.0}})
    cost = forecast(priced, TRAFFIC, sweep=False, replay=True)
    assert cost.usd == pytest.approx(3 * (200 * 1.0 + 20 * 10.0) / 1e6)
    assert "about $0.00" in cost.in_words()
    free = forecast(make(), TRAFFIC, sweep=False, replay=True)
    assert free.usd is None
    assert "price unknown" in free.in_words()


def test_what_was_never_recorded_is_assumed_and_said(make):
    cost = forecast(make(), BARE, sweep=True, replay=False)
    assert (cost.latency_s, cost.assumed) == (1.0, True)
    assert cost.output_tokens == cost.requests * 64
    assert cost.in_words().endswith("at 1000 ms a request, assumed)")


def test_an_empty_workload_costs_nothing_to_replay(make):
    assert forecast(make(), TRAFFIC.clear(), sweep=False, replay=True).requests == 0
