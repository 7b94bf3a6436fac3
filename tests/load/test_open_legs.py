"""Open-loop legs against a real simulator: each kind of schedule sent whole, each request when it was due."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from storage.errors import UsageError
from tasks.load import schedule
from tasks.load.leg import run
from tasks.load.requests import Arrivals
from tasks.load.spec import BudgetSpec, HealthLimits

MS = 1_000_000
GENEROUS = HealthLimits(1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 0.0, 1e6)


def write_talks(path: Path, **columns: object) -> Path:
    """Three sessions of three turns and a request by itself, 10 ms apart; each took 5 ms when it was recorded."""
    rows = 10
    pl.DataFrame(
        {
            "offset_ns": [k * 10 * MS for k in range(rows)],
            "model": ["m"] * rows,
            "input_tokens": [10] * rows,
            "output_tokens": [3] * rows,
            "max_output_tokens": [3] * rows,
            "stream": [True] * rows,
            "session": ["a", "b", "c", "a", None, "b", "c", "a", "b", "c"],
            "duration_ns": [5 * MS] * rows,
            **columns,
        }
    ).write_parquet(path)
    return path


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return write_talks(tmp_path / "talks.parquet")


@pytest.mark.parametrize(
    "asked",
    [
        {"rate_rps": 300.0, "duration_s": 0.4, "cv": 1.0},
        {"rate_rps": 300.0, "duration_s": 0.4, "cv": 3.0, "warmup_s": 0.1},
        {"rate_rps": 50.0, "to_rps": 500.0, "duration_s": 0.4},
        {"rate_rps": 1.0, "duration_s": 0.4, "steps": ((50.0, 0.2), (0.0, 0.1), (400.0, 0.1))},
        {"rate_rps": 200.0, "duration_s": 0.3, "spin": True},
        {"speed": 2.0, "scale": 2.5, "loop_s": 0.2},
    ],
)
def test_every_schedule_is_sent_whole_and_when_it_was_due(sim, leg_spec, rows_of, asked):
    spec = leg_spec(sim.url, loop="open", **asked)
    leg = run(spec)
    rows = rows_of(spec)
    plan = schedule.of_leg(spec, Arrivals.read(spec.workload))
    assert rows["intended_ns"].to_list() == list(plan.due_ns)
    assert rows["seq"].to_list() == list(range(len(plan)))
    assert (rows["phase"] == "warmup").cast(int).to_list() == list(plan.warmup)
    assert (rows["sent_ns"] >= rows["intended_ns"]).all()
    assert (leg.scheduled, leg.measured, leg.ok, leg.lost) == (plan.measured,) * 3 + (0,)


def test_turns_of_a_session_are_sent_in_order_each_after_the_last_and_its_think_time(sim, leg_spec, rows_of, talks):
    sim.configure(slots=0, first_token_ms=20.0, per_token_ms=2.0)
    spec = leg_spec(sim.url, loop="open", workload=str(talks), sessions=True)
    leg = run(spec)
    rows = {row["seq"]: row for row in rows_of(spec).to_dicts()}
    assert (leg.scheduled, leg.measured, leg.ok, leg.lost, leg.health.offered_rps) == (10, 10, 10, 0, None)
    for turns in ((0, 3, 7), (1, 5, 8), (2, 6, 9)):
        for before, after in pairwise(turns):
            think_ns = (after - before) * 10 * MS - 5 * MS
            assert rows[after]["intended_ns"] == rows[before]["end_ns"] + think_ns
            assert rows[after]["sent_ns"] >= rows[after]["intended_ns"]


def test_a_rate_of_sessions_sends_all_their_turns(sim, leg_spec, rows_of, talks):
    spec = leg_spec(
        sim.url, loop="open", workload=str(talks), sessions=True, think_s=0.005, rate_rps=40.0, duration_s=0.2
    )
    leg = run(spec)
    assert (leg.scheduled, leg.ok) == (20, 20)  # 8 sessions: each of the four twice
    assert rows_of(spec).height == 20


@pytest.mark.parametrize("on_full", ["queue", "drop"])
def test_a_target_that_leaves_no_room_is_no_reason_against_the_generator(sim, leg_spec, rows_of, on_full):
    sim.configure(service_ms=20.0)
    limits = replace(GENEROUS, invalid_lag_p99_ms=1000.0, invalid_achieved_share=0.95)
    asked = {"loop": "open", "rate_rps": 400.0, "duration_s": 0.5, "max_in_flight": 2, "on_full": on_full}
    spec = leg_spec(sim.url, health=limits, **asked)
    leg = run(spec)
    rows = rows_of(spec)
    assert leg.validity == "suspect"
    assert [reason.split(":")[0] for reason in leg.reasons] == ["max_in_flight (2) was reached"]
    assert leg.measured + leg.dropped == 200
    if on_full == "queue":  # response time tells, service time does not
        response, service = rows["end_ns"] - rows["intended_ns"], rows["end_ns"] - rows["sent_ns"]
        assert response.max() > 1000 * MS  # 200 at 100/s, all due within half a second
        assert service.median() < response.median()


def test_a_workload_without_sessions_cannot_be_sent_in_sessions(sim, leg_spec):
    with pytest.raises(UsageError, match="knows no sessions"):
        run(leg_spec(sim.url, loop="open", sessions=True))


def test_a_budget_of_time_ends_a_closed_loop_whose_requests_all_hang(sim, leg_spec, rows_of):
    sim.configure(faults=["stall"])
    spec = leg_spec(sim.url, requests=50, drain_s=0.3, budget=BudgetSpec(wall_s=0.3))
    leg = run(spec)
    rows = rows_of(spec)
    assert (leg.stopped, leg.validity) == ("budget", "invalid")
    assert set(rows["failure"].to_list()) == {"censored"}
