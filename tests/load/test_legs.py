"""Whole legs against a real simulator: rows, counts and `leg.json`, on the loop that a worker uses."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from storage.errors import StorageError, UsageError
from storage.records import Failure, Validity
from tasks.load.leg import run
from tasks.load.spec import BreakerSpec, BudgetSpec, HealthLimits


def failures(rows: pl.DataFrame) -> dict[str | None, int]:
    return dict(rows.group_by("failure").len().rows())


def phases(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("phase").len().rows())


def test_a_leg_has_its_rows_its_counts_and_its_manifest(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url)
    leg = run(spec)
    rows = rows_of(spec)
    assert (leg.scheduled, leg.measured, leg.ok, leg.failed, leg.lost, leg.dropped) == (12, 12, 12, {}, 0, 0)
    assert (leg.rows, leg.stopped, leg.validity) == (rows.height, None, "valid")
    assert json.loads((Path(spec.folder) / "leg.json").read_text())["measured"] == 12
    assert phases(rows)["warmup"] == 3
    assert rows.select("trial_id", "leg_id", "attempt", "block", "target", "level", "shard").unique().rows() == [
        ("trial", "leg", "first", 1, "gw", 3, 0)
    ]
    assert rows["request_id"].n_unique() == rows.height == sim.stats()["ok"]
    assert rows["response_bytes"].sum() > 0
    assert "gatebench-simulator" in leg.target_headers["server"]


@pytest.mark.parametrize(("level", "requests"), [(1, 5), (4, 30), (20, 30), (10, 3)])
def test_concurrency_is_the_level_and_the_measured_requests_are_those_asked_for(
    sim, leg_spec, rows_of, level, requests
):
    sim.configure(service_ms=100.0)  # so that a busy machine, too, has sent the last of the first before one ends
    spec = leg_spec(sim.url, level=level, requests=requests)
    run(spec)
    found = phases(rows_of(spec))
    assert (found["warmup"], found["measured"]) == (level, requests)
    assert found.get("cooldown", 0) <= 2 * level
    assert sim.stats()["peak_in_flight"] == level


def test_the_rate_of_a_closed_loop_is_what_was_finished_by_its_rows(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url, level=4, requests=30)
    leg = run(spec)
    rows = rows_of(spec).filter(pl.col("phase") == "measured")
    cycle = (rows["end_ns"] - rows["intended_ns"]).mean()
    assert leg.health.achieved_rps == pytest.approx(4 / cycle * 1e9)
    assert cycle > (rows["end_ns"] - rows["sent_ns"]).mean()


def test_tokens_and_stamps_of_a_stream(sim, leg_spec, rows_of):
    sim.configure(slots=0, first_token_ms=20.0, per_token_ms=5.0)
    spec = leg_spec(sim.url, level=1, requests=8)
    run(spec)
    rows = rows_of(spec)
    stamps = ["intended_ns", "sent_ns", "headers_ns", "first_token_ns", "last_token_ns", "end_ns"]
    assert all(sorted(row) == list(row) for row in rows.select(stamps).rows())
    assert rows["first_token_ns"].to_list() == rows["first_answer_ns"].to_list()
    assert ((rows["first_token_ns"] - rows["sent_ns"]) >= 20_000_000).all()
    assert sorted(rows["output_tokens"].to_list()) == sorted([*range(2, 10), rows["output_tokens"][-1]])
    assert rows["chunk_gaps_us"].list.len().to_list() <= (rows["output_tokens"] - 1).to_list()
    assert rows["input_tokens"].min() >= 20
    assert rows["connection_reused"].to_list() == [False, *[True] * 8]


def test_tokens_and_stamps_of_a_plain_answer(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url, stream=False)
    assert run(spec).ok == 12
    rows = rows_of(spec)
    assert rows["first_token_ns"].to_list() == rows["last_token_ns"].to_list() == rows["end_ns"].to_list()
    assert rows["chunk_gaps_us"].null_count() == rows.height
    assert rows["output_tokens"].null_count() == 0


BEFORE_THE_BODY = [
    ("rate_limited:retry_after_s=3", Failure.RATE_LIMITED, 429),
    ("error:status=503", Failure.HTTP_5XX, 503),
    ("error:status=404", Failure.HTTP_4XX, 404),
    ("reset", Failure.RESET, None),
    ("slow:factor=2", None, 200),
]
FAULTS = [
    *((fault, stream, failure, status) for fault, failure, status in BEFORE_THE_BODY for stream in (True, False)),
    ("half_stream", True, Failure.CLOSED_EARLY, 200),
    ("half_stream", False, Failure.CLOSED_EARLY, 200),
    ("bad_json", True, Failure.BAD_JSON, 200),
    ("bad_json", False, Failure.BAD_JSON, 200),
    ("truncated", True, Failure.TRUNCATED, 200),
    ("truncated", False, Failure.BAD_JSON, 200),
    ("empty", True, Failure.EMPTY, 200),
    ("empty", False, Failure.EMPTY, 200),
    ("error_frame", True, Failure.STREAM_ERROR, 200),
    ("error_frame", False, Failure.STREAM_ERROR, 200),
    ("stall", True, Failure.TIMEOUT_IDLE, 200),
    ("stall", False, Failure.TIMEOUT_FIRST_BYTE, None),
]
TIMEOUTS = (1.0, 0.2, 0.2, 5.0)


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize(("fault", "stream", "failure", "status"), FAULTS)
def test_every_fault_has_its_name_and_its_row(sim, leg_spec, rows_of, fault, stream, failure, status, transport):
    sim.configure(faults=[fault])
    spec = leg_spec(sim.url, requests=5, level=2, stream=stream, timeouts_s=TIMEOUTS, transport=transport)
    leg = run(spec)
    rows = rows_of(spec)
    assert rows.select("failure", "status").unique().rows() == [(failure, status)]
    assert (leg.measured, leg.ok + sum(leg.failed.values())) == (5, 5)
    assert leg.rows == rows.height
    assert leg.failed == ({} if failure is None else {failure: 5})


def test_a_request_that_timed_out_is_as_old_as_its_timeout_or_older(sim, leg_spec, rows_of):
    sim.configure(faults=["stall"])
    spec = leg_spec(sim.url, requests=4, level=2, stream=False, timeouts_s=TIMEOUTS)
    run(spec)
    assert ((rows_of(spec)["end_ns"] - rows_of(spec)["sent_ns"]) >= 200_000_000).all()


def test_mixed_faults_add_up(sim, leg_spec, rows_of):
    kinds = ["rate_limited", "error", "half_stream", "empty", "reset"]
    sim.configure(faults=[f"{kind}:share=0.15" for kind in kinds])
    spec = leg_spec(sim.url, requests=80, level=8)
    leg = run(spec)
    measured = rows_of(spec).filter(pl.col("phase") == "measured")
    assert leg.measured == 80 == leg.ok + sum(leg.failed.values())
    assert failures(measured) == ({None: leg.ok} | leg.failed)
    assert rows_of(spec)["seq"].is_unique().all()


def test_what_the_gateway_says_of_a_refusal_is_kept(sim, leg_spec, rows_of):
    sim.configure(faults=["rate_limited:retry_after_s=3"])
    spec = leg_spec(sim.url)
    run(spec)
    assert rows_of(spec)["retry_after_s"].unique().to_list() == [3.0]


def test_a_reset_on_a_used_connection_is_tried_once_more_and_counted(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url, level=1, requests=30)
    sim.configure(faults=["reset:share=0.4"])
    leg = run(spec)
    rows = rows_of(spec)
    assert rows["resends"].max() == 1
    assert leg.rows + rows["resends"].sum() == sim.stats()["requests"]
    assert rows.filter(pl.col("failure") == "reset")["connection_reused"].any() is False


def test_nobody_there(leg_spec, rows_of):
    spec = leg_spec(level=2, requests=4)
    leg = run(spec)
    assert leg.failed == {"connect": 4}
    assert failures(rows_of(spec)) == {"connect": leg.rows}


# --- the open loop


def open_spec(leg_spec, sim, **changes):
    return leg_spec(sim.url, loop="open", rate_rps=200.0, duration_s=0.2, requests=0, **changes)


def test_an_open_loop_sends_its_whole_schedule(sim, leg_spec, rows_of):
    spec = open_spec(leg_spec, sim, warmup_s=0.05)
    leg = run(spec)
    rows = rows_of(spec)
    assert rows["intended_ns"].to_list() == [k * 5_000_000 for k in range(50)]
    assert ((rows["sent_ns"] - rows["intended_ns"]) >= 0).all()
    assert phases(rows) == {"warmup": 10, "measured": 40}
    assert (leg.scheduled, leg.measured, leg.ok, leg.lost) == (40, 40, 40, 0)
    assert leg.health.offered_rps == pytest.approx(200.0)


def test_a_slow_target_delays_no_send_of_an_open_loop(sim, leg_spec, rows_of):
    sim.configure(slots=1, service_ms=10.0)
    leg = run(open_spec(leg_spec, sim))
    assert (leg.measured, leg.ok, leg.validity) == (40, 40, "valid")
    assert sim.stats()["peak_in_flight"] == 1


def test_recorded_arrivals_are_played_as_they_were_each_with_its_own_shape(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url, loop="open", stream=None, speed=2.0)
    leg = run(spec)
    rows = rows_of(spec)
    assert (leg.scheduled, leg.ok) == (8, 8)
    assert rows["intended_ns"].to_list() == [k * 2_500_000 for k in range(8)]
    assert rows["output_tokens"].to_list() == [2 + k for k in range(8)]
    assert rows["stream"].to_list() == [k % 2 == 0 for k in range(8)]


def test_at_max_in_flight_a_queue_sends_late_and_says_so(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=20.0)
    spec = open_spec(leg_spec, sim, max_in_flight=2, on_full="queue")
    leg = run(spec)
    assert (leg.measured, leg.ok, leg.dropped, leg.lost) == (40, 40, 0, 0)
    assert sim.stats()["peak_in_flight"] <= 2
    assert leg.validity == Validity.SUSPECT
    assert "max_in_flight (2) was reached" in leg.reasons[0]
    assert "sent late" in leg.reasons[0]


def test_at_max_in_flight_a_drop_is_counted_and_no_row(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=50.0)
    spec = open_spec(leg_spec, sim, max_in_flight=2, on_full="drop")
    leg = run(spec)
    rows = rows_of(spec)
    assert leg.dropped > 0
    assert (leg.dropped + leg.measured, leg.lost, rows.height) == (40, 0, leg.measured)
    assert rows["intended_ns"].to_list() == [seq * 5_000_000 for seq in rows["seq"]]


def test_at_max_in_flight_an_abort_ends_the_leg(sim, leg_spec):
    sim.configure(slots=0, service_ms=50.0)
    leg = run(open_spec(leg_spec, sim, max_in_flight=2, on_full="abort"))
    assert (leg.stopped, leg.measured, leg.dropped, leg.lost) == ("max_in_flight", 2, 1, 37)
    assert leg.validity == Validity.INVALID


def test_what_has_not_come_back_at_the_deadline_is_a_censored_row(sim, leg_spec, rows_of):
    sim.configure(slots=0, faults=["stall"])
    spec = open_spec(leg_spec, sim, drain_s=0.2, stream=False)
    leg = run(spec)
    rows = rows_of(spec)
    assert (leg.measured, leg.failed) == (40, {"censored": 40})
    assert ((rows["end_ns"] - rows["sent_ns"]) >= 190_000_000).all()


# --- stopping


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_budget_of_requests_is_never_overstepped(sim, leg_spec, loop):
    changes = {"requests": 100} if loop == "closed" else {"loop": "open", "rate_rps": 500.0, "duration_s": 1.0}
    leg = run(leg_spec(sim.url, budget=BudgetSpec(requests=7), **changes))
    assert (leg.stopped, leg.rows, sim.stats()["requests"]) == ("budget", 7, 7)
    assert leg.lost == leg.scheduled - leg.measured
    assert (leg.validity, leg.reasons[0]) == ("invalid", "budget: 7 requests")


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_leg_that_takes_the_last_of_a_budget_is_whole(sim, leg_spec, loop):
    changes = (
        {"level": 1, "requests": 9} if loop == "closed" else {"loop": "open", "rate_rps": 100.0, "duration_s": 0.1}
    )
    leg = run(leg_spec(sim.url, budget=BudgetSpec(requests=10), **changes))
    assert (leg.stopped, leg.rows, sim.stats()["requests"]) == (None, 10, 10)
    assert (leg.lost, leg.validity, leg.reasons) == (0, "valid", [])


def test_a_budget_of_wall_time_that_is_used_up_sends_one_a_user_at_most(sim, leg_spec):
    leg = run(leg_spec(sim.url, budget=BudgetSpec(wall_s=0.0)))
    assert (leg.stopped, leg.rows <= 3) == ("budget", True)


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_target_that_fails_too_often_is_left_alone(sim, leg_spec, loop):
    sim.configure(faults=["error:status=500"])
    changes = {"requests": 1000} if loop == "closed" else {"loop": "open", "rate_rps": 300.0, "duration_s": 5.0}
    leg = run(leg_spec(sim.url, breaker=BreakerSpec(min_requests=20), **changes))
    assert leg.stopped == "breaker"
    assert 20 <= leg.rows < 200
    assert leg.reasons[0].startswith("error breaker: ")


# --- was it us?


def test_a_client_that_may_not_be_late_at_all_is_invalid(sim, leg_spec):
    leg = run(leg_spec(sim.url, health=HealthLimits(suspect_lag_p99_ms=0.0, invalid_lag_p99_ms=0.0)))
    assert leg.validity == Validity.INVALID
    assert any(reason.startswith("generator: requests left late") for reason in leg.reasons)


def test_a_slow_target_is_no_reason_against_the_leg(sim, leg_spec):
    sim.configure(slots=1, service_ms=20.0)
    leg = run(leg_spec(sim.url))
    assert (leg.validity, leg.reasons) == (Validity.VALID, [])


def test_calibration_is_never_judged(sim, leg_spec):
    strict = HealthLimits(invalid_lag_p99_ms=0.0, invalid_cpu_share=0.0)
    assert run(leg_spec(sim.url, series="calibration", health=strict)).validity == Validity.VALID


def test_the_same_bytes_are_sent_by_the_same_leg_over_either_transport(sim, leg_spec, rows_of, tmp_path):
    sizes = []
    for transport in ("wire", "httpx"):
        spec = leg_spec(sim.url, transport=transport, folder=str(tmp_path / transport), level=1)
        assert run(spec).ok == 12
        rows = rows_of(spec)
        sizes.append(rows.select("request_bytes", "input_tokens", "output_tokens").rows())
    assert sizes[0] == sizes[1]


# --- what cannot be written


def test_a_folder_that_cannot_be_made_is_a_storage_error(sim, leg_spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make"):
        run(leg_spec(sim.url, folder=str(tmp_path / "file" / "leg")))


def test_a_workload_that_is_gone_is_a_usage_error(leg_spec, tmp_path):
    spec = replace(leg_spec(), workload=str(tmp_path / "gone.parquet"))
    with pytest.raises(UsageError, match="cannot read the workload"):
        run(spec)
    assert list(Path(spec.folder).iterdir()) == []
