"""What a run will cost, against sums done by hand."""

import polars as pl
import pytest

from config.limits import Budget
from config.load import Load, make_load
from flows.forecast import afford, forecast
from storage.errors import StoppedEarly, UsageError

TRAFFIC = pl.DataFrame(
    {
        "offset_ns": [0, 10_000_000_000, 60_000_000_000],
        "input_tokens": [100, 200, 300],
        "output_tokens": [10, 20, 30],
        "duration_ns": [100_000_000, 200_000_000, 900_000_000],
        "model": ["small", "small", "large"],
    },
    schema_overrides={"offset_ns": pl.Int64},
)
TALK = TRAFFIC.with_columns(session=pl.Series(["a", None, "a"]))
BARE = TRAFFIC.with_columns(pl.lit(None, pl.Int64).alias(name) for name in TRAFFIC.columns[1:4])


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


def test_an_open_loop_sends_rate_times_duration_and_its_warm_up(make):
    cost = forecast(make(), TRAFFIC, sweep=False, replay=False, load=Load(rate_rps=20, duration_s=30))
    assert (cost.requests, cost.certain_s) == (600 + 20 * 2, 32)


def test_a_ramp_and_steps_send_what_is_under_their_curve(make):
    def cost(**asked):
        return forecast(make(), TALK, sweep=False, replay=False, load=make_load(asked, "load"))

    assert cost(arrivals="ramp", rate_rps=10, to_rps=30, duration_s=60).requests == 1200 + 10 * 2
    steps = cost(arrivals="steps", steps="5:10s,0:20s,10:30s")
    assert (steps.requests, round(steps.minutes * 60)) == (350 + 5 * 2, 67)
    pause = cost(arrivals="steps", steps="0:1s,10:30s")
    assert (pause.requests, round(pause.minutes * 60)) == (300, 36)  # what begins with a pause is not warmed up
    assert cost(rate_rps=10, duration_s=6, sessions=True).requests == 99  # 60 and 6 sessions of 1.5 turns


@pytest.mark.parametrize("workload", [TRAFFIC, TRAFFIC.with_columns(session=pl.lit(None, pl.String))])
def test_sessions_of_a_workload_that_knows_none_are_refused_before_anything_is_sent(make, workload):
    for plan, asked in [
        (make(replay={"sessions": True}), {"replay": True}),
        (make(), {"replay": False, "load": Load(rate_rps=10, duration_s=6, sessions=True)}),
    ]:
        with pytest.raises(UsageError, match="knows no sessions"):
            forecast(plan, workload, sweep=False, **asked)
    forecast(make(replay={"sessions": True}), workload, sweep=True, replay=False)  # a sweep keeps none


@pytest.mark.parametrize(
    ("replay", "requests", "seconds"),
    [
        ({}, 3, 60),
        ({"scale": 2.5}, 8, 60),
        ({"max_idle_gap_s": 20}, 3, 30),
        ({"max_idle_gap_s": 20, "speed": 10}, 3, 3),
        ({"loop_s": 180}, 6, 180),
        ({"loop_s": 9, "speed": 10}, 3, 9),
    ],
)
def test_a_replay_is_scaled_cut_and_looped(make, replay, requests, seconds):
    cost = forecast(make(replay=replay), TRAFFIC, sweep=False, replay=True)
    assert cost.requests == requests
    assert cost.minutes * 60 - 5 - cost.latency_s == pytest.approx(seconds)


def test_a_stress_that_would_begin_after_the_end_is_refused_before_anything_is_sent(make):
    stress = {"rate_rps": 20, "from": "60s", "until": "180s"}
    with pytest.raises(UsageError, match="begins after 60 s, and the replay ends after 30 s: let it begin sooner"):
        forecast(make(replay={"speed": 2, "stress": stress}), TRAFFIC, sweep=False, replay=True)
    looped = make(replay={"speed": 2, "loop_s": 120, "stress": stress})
    assert forecast(looped, TRAFFIC, sweep=False, replay=True).requests > 20 * 60


def test_money_is_known_only_where_every_target_has_a_price(make, two):
    priced = make(prices={"m": {"input": 1.0, "output": 10.0}})
    cost = forecast(priced, TRAFFIC, sweep=False, replay=True)
    assert cost.usd == pytest.approx(3 * (200 * 1.0 + 20 * 10.0) / 1e6)
    assert "about $0.0012" in cost.in_words()
    free = forecast(make(), TRAFFIC, sweep=False, replay=True)
    assert free.usd is None
    assert "price unknown" in free.in_words()


def test_each_model_has_its_price_by_what_is_asked_for_in_its_stead(make):
    target = {"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m", "models": {"large": "dear"}}
    prices = {"dear": {"output": 1000.0}, "*": {"output": 1.0, "request": 0.5}}
    cost = forecast(make(targets=[target], prices=prices), TRAFFIC, sweep=False, replay=True)
    assert cost.usd == pytest.approx((30 * 1000.0 + (10 + 20) * 1.0) / 1e6 + 2 * 0.5)


def test_what_is_within_the_budget_is_not_spoken_of(make):
    cost = forecast(make(), TRAFFIC, sweep=False, replay=True)
    assert afford(cost, Budget(requests=3, output_tokens=60, wall_s=60)) == []
    assert afford(cost, Budget()) == []


def test_a_limit_of_money_needs_the_price_of_every_model_asked_for(make):
    target = {"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m", "models": {"large": "dear"}}
    cost = forecast(make(targets=[target], prices={"m": {"input": 1.0}}), TRAFFIC, sweep=False, replay=True)
    with pytest.raises(UsageError, match=r"budget\.usd cannot be kept: no price is known of dear; write"):
        afford(cost, Budget(usd=1.0))
    assert afford(cost, Budget()) == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"output_tokens": 29}, "to take 60 output tokens, its budget is 29 output tokens; it is not begun"),
        ({"usd": 0.0005}, "to take 0.0012 dollars, its budget is 0.0005 dollars; it is not begun"),
        ({"wall_s": 29}, "to take 60 s, its budget is 29 s; it is not begun"),
    ],
)
def test_a_run_that_takes_more_than_twice_its_budget_is_not_begun(make, limits, said):
    cost = forecast(make(prices={"m": {"input": 1.0, "output": 10.0}}), TRAFFIC, sweep=False, replay=True)
    with pytest.raises(StoppedEarly, match=said):
        afford(cost, Budget(**limits))
    warned = afford(cost, Budget(**limits, refuse_over=0))
    assert len(warned) == 1
    assert warned[0].endswith("it will be stopped there")


def test_up_to_twice_the_budget_and_a_limit_of_requests_are_only_warned_of(make):
    cost = forecast(make(), TRAFFIC, sweep=False, replay=True)
    assert len(afford(cost, Budget(output_tokens=30))) == 1
    assert len(afford(cost, Budget(requests=1))) == 1


def test_a_guess_is_no_ground_to_refuse(make):
    sweep = forecast(make(), BARE, sweep=True, replay=False)  # 1 s a request is assumed, and 64 tokens
    assert sweep.minutes * 60 > 20
    assert afford(sweep, Budget(wall_s=1)) == []
    assert len(afford(sweep, Budget(output_tokens=1))) == 1


def test_what_was_never_recorded_is_assumed_and_said(make):
    cost = forecast(make(), BARE, sweep=True, replay=False)
    assert (cost.latency_s, cost.assumed) == (1.0, True)
    assert cost.output_tokens == cost.requests * 64
    assert cost.in_words().endswith("at 1000 ms a request, assumed)")


def test_an_empty_workload_costs_nothing_to_replay(make):
    assert forecast(make(), TRAFFIC.clear(), sweep=False, replay=True).requests == 0
