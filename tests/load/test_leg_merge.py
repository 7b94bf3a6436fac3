"""What several workers did, put together into one leg."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import Validity
from tasks.load.clock import Offset
from tasks.load.health import Vitals
from tasks.load.lags import Lags
from tasks.load.leg import Lost, make_folder, merge, what_is_left
from tasks.load.shard import Done, Ready
from tasks.load.spec import HealthLimits


def vitals(requests: int, wall_s: float = 10.0) -> Vitals:
    lags = Lags()
    lags.fold([100_000] * requests)
    return Vitals(lags, Lags(), 1.0, wall_s, 0, 0, 10, 1000, 5, 100)


DONE = Done(
    shard=0,
    rows=110,
    measured=100,
    ok=98,
    failed={"reset": 2},
    dropped=0,
    queued=0,
    cycle_ns=100 * 50_000_000,
    first_sent_ns=0,
    last_sent_ns=9_900_000_000,
    late_ns=0,
    started_at="2026-11-24T01:00:01+00:00",
    stopped=None,
    detail=None,
    target_headers={},
    vitals=vitals(100),
)
OTHER = replace(
    DONE,
    shard=1,
    failed={"reset": 1, "http_5xx": 1},
    first_sent_ns=50_000_000,
    last_sent_ns=9_950_000_000,
    started_at="2026-11-24T01:00:00+00:00",
    target_headers={"server": "gw"},
    vitals=vitals(100, 12.0),
)
READY = [Ready(0, "a (process 1)", 100, 20.0), Ready(1, "b (process 2)", 100, 20.0)]


@pytest.fixture
def spec(leg_spec):
    return leg_spec(loop="open", rate_rps=20.0, duration_s=10.0, health=HealthLimits())


def test_counts_add_up_and_the_rate_is_that_of_all(spec):
    leg = merge(spec, READY, [DONE, OTHER], {})
    assert (leg.rows, leg.measured, leg.ok, leg.scheduled, leg.lost) == (220, 200, 196, 200, 0)
    assert leg.failed == {"reset": 3, "http_5xx": 1}
    assert leg.health.achieved_rps == pytest.approx(199 / 9.95)
    assert (leg.health.offered_rps, leg.validity, leg.reasons) == (20.0, Validity.VALID, [])
    assert (leg.started_at, leg.duration_s) == ("2026-11-24T01:00:00+00:00", 12.0)
    assert leg.target_headers == {"server": "gw"}


def test_in_a_closed_loop_the_rate_is_by_littles_law_over_all_users(leg_spec):
    closed = leg_spec(level=10, health=HealthLimits())
    leg = merge(closed, [replace(r, offered_rps=None) for r in READY], [DONE, OTHER], {})
    assert leg.health.achieved_rps == pytest.approx(10 / 0.05)


def test_a_leg_whose_last_request_was_the_budgets_last_is_whole(spec):
    spent = [replace(part, stopped="budget", detail="budget: 110 requests") for part in (DONE, OTHER)]
    leg = merge(spec, READY, spent, {})
    assert (leg.stopped, leg.validity, leg.reasons, leg.lost) == (None, "valid", [], 0)
    leg = merge(spec, READY, [replace(spent[0], measured=99, dropped=1), OTHER], {})
    assert (leg.stopped, leg.lost, leg.validity) == (None, 0, "suspect")  # for what was dropped
    leg = merge(spec, READY, [replace(spent[0], measured=99), OTHER], {})
    assert (leg.stopped, leg.lost, leg.reasons[0]) == ("budget", 1, "budget: 110 requests")


@pytest.mark.parametrize("word", ["breaker", "interrupted", "max_in_flight"])
def test_a_leg_that_was_stopped_otherwise_is_invalid_even_if_all_was_measured(spec, word):
    leg = merge(
        spec, READY, [replace(DONE, stopped="budget", detail="b"), replace(OTHER, stopped=word, detail=word)], {}
    )
    assert (leg.stopped is None, leg.validity) == (False, "invalid")


def test_the_ceiling_of_two_workers_is_twice_that_of_one(spec):
    assert merge(replace(spec, ceiling_rps=13.0), READY, [DONE, OTHER], {}).validity == "valid"
    leg = merge(replace(spec, ceiling_rps=12.0), READY, [DONE, OTHER], {})
    assert leg.reasons == ["generator: ran at 83% of its own calibrated ceiling (24/s)"]


def test_a_worker_that_began_a_little_late_makes_the_leg_suspect_and_one_that_missed_much_invalid(spec):
    little = merge(spec, READY, [DONE, replace(OTHER, late_ns=100_000_000)], {})
    assert (little.validity, little.reasons) == (
        "suspect",
        ["generator: worker 1 began 100 ms after the agreed start"],
    )
    much = merge(spec, READY, [DONE, replace(OTHER, late_ns=700_000_000)], {})
    assert much.validity == "invalid"
    assert [worker.late_ms for worker in much.workers] == [0.0, 700.0]


def test_a_lost_worker_makes_the_leg_invalid_and_what_it_left_is_counted(spec):
    leg = merge(spec, READY, [DONE, Lost(1, "its process ended", 30, 25, 24, {"reset": 1})], {})
    assert (leg.rows, leg.measured, leg.ok, leg.lost, leg.failed) == (140, 125, 122, 75, {"reset": 3})
    assert (leg.validity, leg.stopped) == ("invalid", None)
    assert leg.reasons[0] == "lost worker 1 of 2, b (process 2): its process ended; 30 of its rows are kept"


def test_a_calibration_that_lost_its_worker_is_invalid_too(spec):
    one = replace(spec, series="calibration", shards=1)
    leg = merge(one, READY[:1], [Lost(0, "its process ended", 0, 0, 0, {})], {})
    assert (leg.validity, leg.measured, leg.lost) == ("invalid", 0, 100)


def test_what_stopped_the_first_is_what_stopped_the_leg(spec):
    breaker = replace(OTHER, stopped="breaker", detail="error breaker: 11 of the last 20 requests failed")
    leg = merge(spec, READY, [replace(DONE, stopped="interrupted", detail="interrupted"), breaker], {})
    assert (leg.stopped, leg.reasons) == ("breaker", ["error breaker: 11 of the last 20 requests failed"])


def test_a_leg_that_was_cancelled_says_so_although_a_worker_was_lost_with_it(spec):
    parts = [replace(DONE, stopped="interrupted", detail="interrupted"), Lost(1, "it did not end", 0, 0, 0, {})]
    assert merge(spec, READY, parts, {}, cancelled=True).stopped == "interrupted"
    assert merge(spec, READY, parts, {}).stopped is None


def test_what_was_dropped_by_all_is_a_reason_once(spec):
    leg = merge(spec, READY, [replace(DONE, dropped=5), replace(OTHER, dropped=7)], {})
    assert (leg.dropped, leg.validity) == (12, "suspect")
    assert leg.reasons == ["max_in_flight (1000) was reached: 12 dropped"]


def test_clocks_of_other_machines_are_kept_beside_their_workers(spec):
    leg = merge(spec, READY, [DONE, OTHER], {1: Offset(-1_500_000_000, 250_000)})
    assert [(w.clock_offset_ms, w.clock_uncertainty_ms) for w in leg.workers] == [(0.0, 0.0), (-1500.0, 0.25)]


def test_a_worker_that_left_nothing_left_nothing(spec):
    make_folder(Path(spec.folder))
    (Path(spec.folder) / "part-1-00000.tmp").write_bytes(b"half")
    assert what_is_left(replace(spec, shards=2), 1, "why") == Lost(1, "why", 0, 0, 0, {})
    assert list(Path(spec.folder).iterdir()) == []
