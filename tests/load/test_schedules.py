"""Schedules: literals where there is a closed form, distributions where they are drawn. Every seed is fixed."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from storage.errors import UsageError
from tasks.load import curve, schedule, track
from tasks.load.requests import Arrivals
from tasks.load.schedule import Schedule, Turn
from tasks.load.spec import LegSpec, TargetSpec

S = 1_000_000_000
MS = 1_000_000
SPEC = LegSpec(
    run_id="run",
    trial_id="trial",
    leg_id="leg",
    attempt="first",
    block=1,
    target=TargetSpec("gw", "http://127.0.0.1:1/v1", "m"),
    series="load",
    level=0,
    loop="open",
    folder="/leg",
    workload="/w.parquet",
    workload_id="w",
    seed=7,
)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def arrivals(*offsets: int, **columns) -> Arrivals:
    n = len(offsets)
    return Arrivals(list(offsets), ["m"] * n, [10] * n, [10] * n, [True] * n, **columns)


def load(rate=100.0, seconds=10.0, **changes) -> Schedule:
    return schedule.of_leg(replace(SPEC, rate_rps=rate, duration_s=seconds, **changes), arrivals(0, 1, 2, 3, 4))


def replay(*offsets: int, columns=None, **changes) -> Schedule:
    return schedule.of_leg(replace(SPEC, **changes), arrivals(*offsets, **(columns or {})))


def gaps_s(plan: Schedule) -> np.ndarray:
    return np.diff(np.asarray(plan.due_ns)) / S


# --- a rate


@pytest.mark.parametrize(
    ("rate", "duration", "starts"),
    [
        (4, 1.0, [0, 250 * MS, 500 * MS, 750 * MS]),
        (1, 3, [0, S, 2 * S]),
        (1.5, 1, [0, 666_666_666]),
        (0.5, 1, [0]),
        (0.5, 4, [0, 2 * S]),
        (3, 1, [0, 333_333_333, 666_666_666]),
        (10, 0.3, [0, 100 * MS, 200 * MS]),
    ],
)
def test_a_constant_rate_starts_every_k_over_rate_that_lies_inside_the_duration(rate, duration, starts):
    assert list(load(rate, duration).due_ns) == starts


@pytest.mark.parametrize(("rate", "duration"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1), (1, float("inf"))])
def test_a_rate_that_sends_nothing_is_refused(rate, duration):
    with pytest.raises(UsageError, match="must be above 0"):
        load(rate, duration)


def test_a_rate_needs_a_duration():
    with pytest.raises(UsageError, match="leg leg: a rate needs a duration"):
        load(10.0, None)


def test_a_ramp_has_its_nth_start_where_the_integral_of_the_rate_is_n():
    # from 0 to 10/s over 10 s: n(t) = t²/2
    assert list(curve.starts([(10, 0, 10)], None, rng())) == [int(np.sqrt(2 * n) * S) for n in range(50)]


def test_a_ramp_down_is_the_ramp_up_read_backwards():
    up = np.asarray(curve.starts([(10, 2, 8)], None, rng()), dtype=float)
    down = np.asarray(curve.starts([(10, 8, 2)], None, rng()), dtype=float)
    assert np.allclose(down[1:], (10 * S - up)[::-1][:-1], atol=2)


@pytest.mark.parametrize(("begin", "end"), [(0, 10), (5, 50), (50, 5), (20, 20), (3, 0)])
def test_a_ramp_holds_as_many_in_any_part_as_the_integral_says(begin, end):
    starts = curve.starts([(30, begin, end)], None, rng()) / S
    for t in np.linspace(0.5, 30, 60):
        integral = begin * t + (end - begin) * t * t / 60
        assert abs((starts < t).sum() - integral) <= 1


def test_steps_follow_one_another_and_a_step_of_nothing_is_a_pause():
    plan = load(steps=((2, 1.0), (0, 5.0), (4, 0.5)))
    assert list(plan.due_ns) == [0, S // 2, 6 * S, 6 * S + S // 4]


def test_a_warm_up_comes_first_at_the_first_rate_and_is_marked():
    plan = load(2, 1.0, warmup_s=1.0, to_rps=6.0)
    assert list(plan.due_ns)[:3] == [0, S // 2, S]
    assert list(plan.warmup) == [1, 1, 0, 0, 0, 0]
    assert plan.measured == 4
    assert list(load(2, 1.0, warmup_s=1.0).warmup) == [1, 1, 0, 0]


def test_the_gaps_of_poisson_are_exponential():
    plan = load(1000, 20, cv=1.0)
    assert stats.kstest(gaps_s(plan), stats.expon(scale=1 / 1000).cdf).pvalue > 0.01
    assert abs(stats.spearmanr(gaps_s(plan)[:-1], gaps_s(plan)[1:]).statistic) < 0.03


@pytest.mark.parametrize("cv", [0.3, 0.5, 2.0, 4.0])
def test_the_gaps_of_gamma_have_the_spread_that_was_asked_for(cv):
    gaps = gaps_s(load(1000, 60, cv=cv))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    wanted, floor = stats.gamma(cv**-2, scale=cv**2 / 1000), 1e-6  # below that a gap is a few nanoseconds, or none
    tail = wanted.sf(floor)
    assert (gaps > floor).mean() == pytest.approx(tail, abs=0.01)
    assert stats.kstest(gaps[gaps > floor], lambda x: 1 - wanted.sf(x) / tail).pvalue > 0.01


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_drawn_starts_have_their_rate_from_the_first_second_on(cv):
    counts = [
        np.histogram(curve.starts([(4, 20, 20)], cv, rng(seed)) / S, [0, 1, 2, 3, 4])[0].tolist()
        for seed in range(1500)
    ]
    error = np.std(counts, axis=0) / np.sqrt(len(counts))
    assert np.all(np.abs(np.mean(counts, axis=0) - 20) < 4 * error)


def test_a_drawn_ramp_is_a_poisson_process_with_the_rate_of_the_ramp():
    starts = curve.starts([(60, 10, 500)], 1.0, rng()) / S
    cumulative = 10 * starts + (500 - 10) * starts**2 / 120
    assert stats.kstest(np.diff(cumulative), "expon").pvalue > 0.01
    assert len(starts) == pytest.approx(60 * 255, abs=4 * np.sqrt(60 * 255))


@pytest.mark.parametrize("cv", [0, -1, float("nan"), float("inf")])
def test_gaps_without_spread_are_not_drawn(cv):
    with pytest.raises(UsageError, match="evenly spaced is 'constant'"):
        load(cv=cv)


@given(
    pieces=st.lists(
        st.tuples(st.floats(0.1, 20), st.floats(0, 50), st.floats(0, 50)).filter(lambda p: p[1] + p[2] > 0.1),
        min_size=1,
        max_size=4,
    ),
    cv=st.none() | st.floats(0.2, 3),
    seed=st.integers(0, 1000),
)
def test_starts_are_in_order_and_inside_the_duration_whatever_the_rate(pieces, cv, seed):
    starts = curve.starts(pieces, cv, rng(seed))
    assert np.all(np.diff(starts) >= 0)
    assert len(starts) == 0 or (starts[0] >= 0 and starts[-1] <= sum(p[0] for p in pieces) * S + 1)
    assert starts.tolist() == curve.starts(pieces, cv, rng(seed)).tolist()
    if cv is None:
        assert abs(len(starts) - curve.mass(pieces)) <= 1


@pytest.mark.parametrize("changes", [{}, {"cv": 1.0}, {"cv": 3.0}, {"to_rps": 300.0}, {"to_rps": 300.0, "cv": 1.0}])
def test_the_same_seed_gives_the_same_list_to_every_target_and_another_block_another(changes):
    plan = load(**changes)
    other = replace(SPEC.target, name="direct")
    assert load(**changes) == load(target=other, run_id="r2", **changes) == plan
    again = load(block=2, **changes)
    assert list(again.arrival) != list(plan.arrival)
    assert (list(again.due_ns) == list(plan.due_ns)) == ("cv" not in changes)


def test_arrivals_are_drawn_in_seeded_order_again_and_again():
    assert sorted(schedule.order(1, 2, 10, 50)) == list(range(50))
    assert schedule.order(1, 2, 10, 50) == schedule.order(1, 2, 10, 50)
    assert schedule.order(1, 2, 10, 50) != schedule.order(1, 3, 10, 50)
    assert schedule.order(7, 1, 3, 6) == [5, 4, 0, 3, 1, 2]
    drawn = list(load(12, 1.0).arrival)
    assert sorted(drawn[:5]) == [0, 1, 2, 3, 4]
    assert drawn == (drawn[:5] * 3)[:12]


def test_the_offered_rate_is_that_of_the_measured_part():
    assert load(50, 4.0, warmup_s=1.0).offered_rps == pytest.approx(50)
    assert load(0.5, 1.0).offered_rps is None


# --- recorded


@pytest.mark.parametrize(
    ("offsets", "speed", "starts"),
    [
        ([5, 15, 45], 1.0, [0, 10, 40]),
        ([5, 15, 45], 2.0, [0, 5, 20]),
        ([5, 15, 45], 0.5, [0, 20, 80]),
        ([], 1.0, []),
        ([7], 3.0, [0]),
    ],
)
def test_recorded_arrivals_are_played_from_the_first_of_them(offsets, speed, starts):
    plan = replay(*offsets, speed=speed)
    assert (list(plan.due_ns), list(plan.arrival)) == (starts, list(range(len(starts))))
    assert plan.measured == len(starts)


@pytest.mark.parametrize("speed", [0, -2, float("nan")])
def test_a_speed_of_nothing_is_refused(speed):
    with pytest.raises(UsageError, match="2 plays twice as fast"):
        replay(0, 1, speed=speed)


def test_an_idle_gap_is_cut_and_all_behind_it_comes_as_much_earlier():
    plan = replay(0, S, 100 * S, 101 * S, 500 * S, max_idle_gap_s=10.0)
    assert list(plan.due_ns) == [0, S, 11 * S, 12 * S, 22 * S]
    faster = replay(0, S, 100 * S, 101 * S, 500 * S, max_idle_gap_s=10.0, speed=2.0)
    assert list(faster.due_ns) == [0, S // 2, 11 * S // 2, 6 * S, 11 * S]


def test_a_loop_plays_it_again_after_a_mean_gap_until_its_time_is_up():
    plan = replay(0, 1 * S, 4 * S, loop_s=14.5)
    assert list(plan.due_ns) == [k * S for k in (0, 1, 4, 6, 7, 10, 12, 13)]
    assert list(plan.arrival) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert list(replay(0, 1 * S, 4 * S, loop_s=2.0).arrival) == [0, 1]
    assert list(replay(0, 1 * S, 4 * S, loop_s=3.5, speed=2.0).due_ns) == [0, S // 2, 2 * S, 3 * S]


@pytest.mark.parametrize("changes", [{"loop_s": 5.0}, {"scale": 2.0}])
def test_what_comes_at_one_instant_cannot_be_repeated(changes):
    with pytest.raises(UsageError, match="at one instant"):
        replay(3, 3, 3, **changes)


TRAFFIC = np.cumsum(np.random.default_rng(5).exponential(S / 50, 20_000)).astype(int).tolist()
MODELS = np.random.default_rng(6).choice(["small", "large", "other"], 20_000, p=[0.7, 0.25, 0.05])


def mix(plan: Schedule) -> dict[str, float]:
    return {name: n / len(plan) for name, n in Counter(MODELS[list(plan.arrival)].tolist()).items()}


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.5, 2.0, 2.5, 3.0])
def test_scaling_sends_so_many_times_as_many_in_the_same_time_and_keeps_the_model_mix(scale):
    plan = replay(*TRAFFIC, scale=scale)
    assert len(plan) == pytest.approx(20_000 * scale, rel=0.05)
    assert plan.due_ns[-1] == pytest.approx(TRAFFIC[-1], rel=0.01)
    assert mix(plan) == pytest.approx({"small": 0.7, "large": 0.25, "other": 0.05}, abs=0.02)
    counts = np.histogram(plan.due_ns, 8)[0]  # not all in one place
    assert counts.min() > 0.8 * counts.mean()


@pytest.mark.parametrize("scale", [0.3, 1.5, 3.0])
def test_scaled_poisson_traffic_is_poisson_traffic(scale):
    gaps = gaps_s(replay(*TRAFFIC, scale=scale))
    assert stats.kstest(gaps, stats.expon(scale=1 / (50 * scale)).cdf).statistic < 0.02


def test_every_copy_holds_every_arrival_once():
    assert set(Counter(replay(*TRAFFIC[:500], scale=3.0).arrival).values()) == {3}
    assert max(Counter(replay(*TRAFFIC[:500], scale=2.5).arrival).values()) <= 3


def test_the_same_seed_scales_the_same_way():
    assert replay(*TRAFFIC[:100], scale=1.5) == replay(*TRAFFIC[:100], scale=1.5)
    assert replay(*TRAFFIC[:100], scale=1.5) != replay(*TRAFFIC[:100], scale=1.5, seed=8)


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_of_nothing_is_refused(scale):
    with pytest.raises(UsageError, match="2 sends twice as many"):
        replay(0, 1, scale=scale)


def test_a_share_that_leaves_nothing_is_said():
    with pytest.raises(UsageError, match="leaves none"):
        replay(0, S, scale=1e-9)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda t: track.cap_idle(t, 0), "idle gap must be above 0"),
        (lambda t: track.loop(t, 0), "length above 0"),
        (lambda t: track.thin(t, 1.5, rng()), "at most 1"),
        (lambda t: track.superpose(t, 0, rng()), "at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, complaint):
    with pytest.raises(UsageError, match=complaint):
        call(track.recorded([0, 1, 2]))


# --- sessions: a b a . a b, with a recorded end for some

OFFSETS = (0, 1 * S, 10 * S, 11 * S, 30 * S, 31 * S)
TALK = {
    "session": ["a", "b", "a", None, "a", "b"],
    "duration_ns": [2 * S, S, None, S, S, S],
}


def test_a_turn_waits_for_the_turn_before_and_the_recorded_think_time():
    plan = replay(*OFFSETS, columns=TALK, sessions=True)
    assert plan.turns == {0: Turn(2, 8 * S, 0), 1: Turn(5, 29 * S, 0), 2: Turn(4, 0, 30 * S)}
    assert list(plan.firsts) == [0, 1, 3]
    assert (plan.measured, plan.offered_rps) == (6, None)


def test_think_time_is_played_faster_and_cut_like_every_other_gap():
    fast = replay(*OFFSETS, columns=TALK, sessions=True, speed=10.0)
    assert fast.turns == {0: Turn(2, S * 8 // 10, 0), 1: Turn(5, 29 * S // 10, 0), 2: Turn(4, 0, 3 * S)}
    cut = replay(*OFFSETS, columns=TALK, sessions=True, max_idle_gap_s=9.0)
    assert [turn.think_ns for turn in cut.turns.values()] == [8 * S, 0, 9 * S]


def test_a_turn_that_was_sent_before_the_last_had_ended_waits_for_it_and_no_longer():
    columns = {"session": ["a", "a"], "duration_ns": [5 * S, S]}
    assert replay(0, S, columns=columns, sessions=True).turns == {0: Turn(1, 0, 0)}


def test_without_sessions_every_request_has_its_recorded_start():
    assert replay(*OFFSETS, columns=TALK).turns == {}


@pytest.mark.parametrize("columns", [{}, {"session": [None, None]}])
def test_a_workload_that_knows_no_sessions_cannot_keep_them(columns):
    with pytest.raises(UsageError, match="knows no sessions"):
        replay(0, 1, columns=columns, sessions=True)


def test_drawn_think_times_are_exponential_with_the_mean_that_was_asked_for():
    talk = {"session": ["a"] * 5000}
    plan = replay(*range(5000), columns=talk, sessions=True, think_s=3.0)
    think = [turn.think_ns / S for turn in plan.turns.values()]
    assert stats.kstest(think, stats.expon(scale=3.0).cdf).pvalue > 0.01
    assert plan == replay(*range(5000), columns=talk, sessions=True, think_s=3.0)


def test_a_session_is_thinned_and_shifted_whole():
    many = {"session": [f"s{k % 200}" for k in range(1000)]}
    plan = replay(*(k * MS for k in range(1000)), columns=many, sessions=True, scale=0.5)
    of_session = Counter(k % 200 for k in plan.arrival)
    assert set(of_session.values()) == {5}
    assert 70 < len(of_session) < 130
    doubled = replay(*(k * MS for k in range(1000)), columns=many, sessions=True, scale=2.0)
    assert (len(doubled), len(doubled.firsts), len(doubled.turns)) == (2000, 400, 1600)


def test_a_rate_of_sessions_begins_one_at_each_start_with_its_turns_behind_it():
    spec = replace(SPEC, rate_rps=2.0, duration_s=2.0, sessions=True)
    plan = schedule.of_leg(spec, arrivals(*OFFSETS, **TALK))
    firsts = list(plan.firsts)
    assert [plan.due_ns[k] for k in firsts] == [0, S // 2, S, 3 * S // 2]
    assert sorted(plan.arrival[k] for k in firsts[:3]) == [0, 1, 3]  # each session and the lone request once
    for k, turn in plan.turns.items():
        assert TALK["session"][plan.arrival[k]] == TALK["session"][plan.arrival[turn.position]]
    assert Counter(plan.arrival)[0] == Counter(plan.arrival)[2] == Counter(plan.arrival)[4]


def test_a_session_is_warm_up_whole_or_not_at_all():
    spec = replace(SPEC, rate_rps=1.0, duration_s=5.0, warmup_s=2.0, sessions=True)
    plan = schedule.of_leg(spec, arrivals(*OFFSETS, **TALK))
    assert [plan.warmup[k] for k in plan.firsts] == [1, 1, 0, 0, 0, 0, 0]
    assert all(plan.warmup[k] == plan.warmup[turn.position] for k, turn in plan.turns.items())


# --- stripes


def plans() -> list[Schedule]:
    many = {"session": [None if k % 7 == 0 else f"s{k % 40}" for k in range(300)]}
    return [
        load(97, 5.0, warmup_s=1.0),
        load(97, 5.0, cv=2.0),
        replay(*TRAFFIC[:300]),
        replay(*TRAFFIC[:300], columns=many, sessions=True),
    ]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_stripes_hold_each_request_of_the_schedule_once_and_a_session_whole(which, shards):
    plan = plans()[which]
    stripes = [schedule.stripe(plan, shard, shards) for shard in range(shards)]
    assert sorted(seq for s in stripes for seq in s.seq) == list(range(len(plan)))
    for stripe in stripes:
        for k, seq in enumerate(stripe.seq):
            assert (stripe.due_ns[k], stripe.arrival[k], stripe.warmup[k]) == (
                plan.due_ns[seq],
                plan.arrival[seq],
                plan.warmup[seq],
            )
            turn, whole = stripe.turns.get(k), plan.turns.get(seq)
            assert (turn is None) == (whole is None)
            if turn is not None and whole is not None:
                assert (stripe.seq[turn.position], turn[1:]) == (whole.position, whole[1:])
        assert list(stripe.due_ns) == sorted(stripe.due_ns)
    assert max(len(s.firsts) for s in stripes) - min(len(s.firsts) for s in stripes) <= 1
