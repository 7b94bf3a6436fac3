"""Load on top of a replay: at a rate or so many at a time, told apart in every row, and no part of what is judged."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from storage.errors import UsageError
from tasks.load import schedule as plan
from tasks.load import stress
from tasks.load.leg import run
from tasks.load.requests import Arrivals
from tasks.load.spec import StressSpec
from tasks.load.track import Track

SECOND = 10**9


@pytest.fixture
def slower(workload: Path) -> str:
    """The small workload with its gaps ten times as long: it takes a third of a second."""
    path = workload.with_name("slower.parquet")
    pl.read_parquet(workload).with_columns(pl.col("offset_ns") * 10).write_parquet(path)
    return str(path)


def replayed(n: int = 100, step_ns: int = SECOND // 10) -> Track:
    rows = np.arange(n, dtype=np.int64)
    return Track(rows * step_ns, rows, rows)


def laid(spec: StressSpec, seed: int = 1):
    return stress.lay_over(replayed(), spec, list(range(100)), np.random.default_rng(seed))


def test_a_rate_lays_poisson_arrivals_between_its_ends_and_moves_nothing():
    whole, own = laid(StressSpec(rate_rps=200.0, from_s=2.0, until_s=7.0))
    assert whole.at_ns[~own].tolist() == replayed().at_ns.tolist()
    assert whole.at_ns[own].min() >= 2 * SECOND and whole.at_ns[own].max() < 7 * SECOND
    assert 1000 - 5 * 32 < int(own.sum()) < 1000 + 5 * 32  # five standard deviations of a Poisson count
    assert (np.diff(whole.at_ns) >= 0).all()
    assert len(set(whole.unit.tolist())) == len(whole)


def test_the_rows_on_top_keep_the_mix_of_the_workload():
    whole, own = laid(StressSpec(rate_rps=1000.0))
    uses = Counter(whole.arrival[own].tolist())
    assert set(uses) == set(range(100)) and max(uses.values()) - min(uses.values()) <= 1


def test_the_same_seed_makes_the_same_stress():
    spec = StressSpec(rate_rps=50.0)
    assert laid(spec)[0].at_ns.tolist() == laid(spec)[0].at_ns.tolist()
    assert laid(spec)[0].at_ns.tolist() != laid(spec, seed=2)[0].at_ns.tolist()


def test_the_end_of_the_replay_ends_the_stress():
    assert stress.span(StressSpec(rate_rps=1.0, until_s=99.0), 10 * SECOND) == (0, 10 * SECOND)
    with pytest.raises(UsageError, match="begins after 12 s, and the replay has ended by then"):
        stress.span(StressSpec(rate_rps=1.0, from_s=12.0), 10 * SECOND)


def test_users_are_dealt_out_over_the_workers_with_numbers_of_their_own():
    spec = StressSpec(users=5, until_s=3.0)
    two = [stress.users_of(spec, 10 * SECOND, [7, 8, 9], 100, (shard, 2)) for shard in (0, 1)]
    assert [users.count for users in two if users is not None] == [3, 2]
    numbers = [users.next()[0] for users in two if users is not None for _ in range(4)]
    assert sorted(numbers) == list(range(100, 108))
    assert stress.users_of(StressSpec(users=1), SECOND, [0], 0, (1, 2)) is None


def test_a_schedule_leaves_stress_out_of_what_is_measured_and_its_stripes_hold_all_of_it(leg_spec):
    spec = leg_spec(loop="open", stream=None, stress=StressSpec(rate_rps=100.0))
    arrivals = Arrivals.read(spec.workload)
    whole = plan.of_leg(spec, arrivals)
    assert whole.measured == len(arrivals) < len(whole)
    labels = Counter(whole.label(k) for k in range(len(whole)))
    assert labels[None] == len(arrivals) and labels["stress"] == len(whole) - len(arrivals)
    stripes = [plan.stripe(whole, shard, 3) for shard in range(3)]
    assert sum(stripe.measured for stripe in stripes) == whole.measured
    assert sum(sum(stripe.stress) for stripe in stripes) == labels["stress"]
    assert plan.of_leg(leg_spec(loop="open", stream=None), arrivals).label(0) is None


@pytest.mark.parametrize("on_top", [StressSpec(rate_rps=200.0), StressSpec(users=3)])
def test_every_row_says_its_stream_and_the_leg_counts_the_main_one(sim, leg_spec, rows_of, slower, on_top):
    spec = leg_spec(sim.url, loop="open", stream=None, stress=on_top, workload=slower)
    leg = run(spec)
    rows = rows_of(spec)
    main = rows.filter(rows["stream_label"] == "main")
    beside = rows.filter(rows["stream_label"] == "stress")
    assert main.height == leg.scheduled == leg.measured == leg.ok
    assert beside.height >= 3 and beside["failure"].null_count() == beside.height
    assert rows["seq"].n_unique() == rows.height == leg.rows
    assert (leg.lost, leg.dropped) == (0, 0)


def test_users_are_never_more_at_a_time_than_they_are_and_end_with_the_replay(sim, leg_spec, rows_of, slower):
    spec = leg_spec(sim.url, loop="open", stream=None, stress=StressSpec(users=2), workload=slower)
    run(spec)
    rows = rows_of(spec)
    beside = rows.filter(rows["stream_label"] == "stress").sort("sent_ns")
    events = sorted([(at, 1) for at in beside["sent_ns"]] + [(at, -1) for at in beside["end_ns"]])
    assert max(np.cumsum([step for _, step in events])) <= 2
    last_due = rows.filter(rows["stream_label"] == "main")["intended_ns"].max()
    assert beside["sent_ns"].max() <= last_due + SECOND // 10
