from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import UsageError
from storage.records import Calibration, Ceiling, Estimate, Slo, SloResult

RUN = "20261101T020000Z-nightly-0001"
LATER = "20261102T020000Z-nightly-0002"


def test_a_run_comes_back_as_it_went_in(book, make_run):
    book.start_run(make_run())
    assert book.run(RUN) == make_run()


def test_the_folder_of_the_book_is_for_this_user_alone(book):
    book.runs()
    assert book.path.parent.stat().st_mode & 0o777 == 0o700


def test_finishing_a_run_keeps_what_was_not_said(book, make_run):
    book.start_run(make_run())
    book.update_run(RUN, report="/r.html", environment={"cores": 4})
    end = {"status": "completed", "ended_at": "2026-11-01T02:09:00+00:00", "verdict": "unchanged", "exit_code": 0}
    finished = book.finish_run(RUN, **end, reason="nothing moved")
    assert finished == replace(make_run(), **end, reason="nothing moved", report="/r.html", environment={"cores": 4})
    assert book.run(RUN) == finished


def test_the_same_run_is_not_begun_twice(book, make_run):
    book.start_run(make_run())
    with pytest.raises(UsageError, match="in the book already"):
        book.start_run(make_run())


def test_a_run_is_found_by_last_and_by_a_prefix_that_only_one_has(book, make_run):
    book.start_run(make_run(LATER))
    book.start_run(make_run(RUN))
    assert book.run("last").run_id == LATER
    assert book.run("20261101").run_id == RUN
    with pytest.raises(UsageError, match=f"'2026110' could be {RUN}, {LATER}"):
        book.run("2026110")


def test_an_unknown_run_is_answered_with_the_nearest_or_the_most_recent(book, make_run):
    with pytest.raises(UsageError, match="no runs yet"):
        book.run("last")
    book.start_run(make_run(RUN))
    book.start_run(make_run(LATER))
    with pytest.raises(UsageError, match=f"did you mean {RUN}"):
        book.run("20261101T020000Z-nightly-0009")
    with pytest.raises(UsageError, match=f"the most recent is {LATER}"):
        book.run("yesterday")
    with pytest.raises(UsageError, match="no run ''"):
        book.run("")


def test_runs_are_listed_newest_first_whatever_zone_their_label_has(book, make_run):
    book.start_run(make_run("a", started_at="2026-11-02T01:00:00+02:00"))  # 23:00 UTC the day before
    book.start_run(make_run("b", started_at="2026-11-01T23:30:00+00:00"))
    book.start_run(make_run("c", flow="sweep", started_at="2026-11-01T10:00:00+00:00"))
    assert [run.run_id for run in book.runs()] == ["b", "a", "c"]
    assert [run.run_id for run in book.runs(limit=1)] == ["b"]
    assert [run.run_id for run in book.runs(flow="sweep")] == ["c"]


def test_only_running_runs_of_dead_processes_on_this_host_become_interrupted(book, make_run, tmp_path: Path):
    book.start_run(make_run("dead"), pid=111)
    book.start_run(make_run("alive"), pid=222)
    book.start_run(make_run("done", status="completed"), pid=111)
    elsewhere = type(book)(book.path, host="there")
    elsewhere.start_run(make_run("remote"), pid=111)
    assert book.mark_interrupted(lambda pid: pid == 222) == ["dead"]
    dead = book.run("dead")
    assert (dead.status, dead.ended_at) == ("interrupted", "2026-11-24T09:00:00+00:00")
    assert dead.reason == "process 111 ended without closing the run"
    assert [book.run(name).status for name in ("alive", "done", "remote")] == ["running", "completed", "running"]
    assert book.mark_interrupted(lambda pid: pid == 222) == []


def test_a_leg_written_twice_is_there_once_and_the_trial_is_the_sum_of_its_legs(book, make_leg):
    first, second = make_leg(), make_leg("first-b1-gw-10", block=1, started_at="2026-11-01T02:00:09+00:00")
    book.add_legs(RUN, [second, first])
    book.add_legs(RUN, [replace(first, ok=190, validity="suspect")])
    assert book.legs(RUN) == [replace(first, ok=190, validity="suspect"), second]
    trials = book._do(lambda con: con.execute("select trial_id, blocks, measured, ok, validity from trials").fetchall())
    assert trials == [("first-gw-sweep-10", 2, 400, 388, "suspect")]


def test_cells_replace_those_of_the_same_attempt_only(book, make_cell):
    book.add_cells(RUN, [make_cell("latency_p50", 0.4), make_cell("latency_p95", 0.6)])
    book.add_cells(RUN, [make_cell("latency_p95", 0.7, attempt="confirm")])
    book.add_cells(RUN, [make_cell("latency_p95", 0.5)])
    assert book.cells(RUN) == [make_cell("latency_p95", 0.5), make_cell("latency_p95", 0.7, attempt="confirm")]


def test_results_come_back_as_they_went_in_and_are_replaced_not_doubled(book, make_verdict):
    verdicts = [make_verdict("regressed", "p95 rose"), make_verdict(level=None, effect=None, p=None)]
    slo = Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None)
    slos = [SloResult(slo, "gw", "sweep", 10, 0.6, False), SloResult(slo, "gw", "replay", 0, None, None)]
    ceilings = [Ceiling("gw", Estimate(80.0, 79.0, 81.0, 1000, 5), 50, True, "capacity", 10)]
    plain, streamed = Calibration(False, 0.3, 0.9, 4000.0), Calibration(True, 0.5, 1.9, 2000.0, 0.1, 0.2, 0.3)
    for _ in range(2):
        book.add_verdicts(RUN, verdicts)
        book.add_slo_results(RUN, slos)
        book.add_ceilings(RUN, ceilings)
        book.add_calibration(RUN, streamed)
        book.add_calibration(RUN, plain)
    assert book.verdicts(RUN) == verdicts
    assert book.slo_results(RUN) == slos
    assert book.ceilings(RUN) == ceilings
    assert book.calibrations(RUN) == [plain, streamed]
    assert book.verdicts(LATER) == []


def test_a_pinned_workload_is_found_by_name_id_or_prefix(book):
    said = {"path": "/w.parquet", "header": {"rows": 3}, "who": "ann", "why": "real traffic"}
    book.save_workload("day", "abc123", pinned=True, **said)
    book.save_workload("night", "abd456", pinned=True, **said)
    book.save_workload("captured", "abe789", pinned=False, **said)
    for name in ("day", "abc123", "abc"):
        row = book.pinned(name)
        assert row is not None
        assert (row.name, row.header, row.why) == ("day", {"rows": 3}, "real traffic")
    assert book.pinned("captured") is None
    assert book.pinned("") is None
    with pytest.raises(UsageError, match="could be day, night"):
        book.pinned("ab")
    book.save_workload("day", "fff", pinned=True, **said)
    assert [row.workload_id for row in book.workloads() if row.name == "day"] == ["fff"]


def test_alerts_are_kept_in_the_order_they_were_sent(book):
    said = {"channels": 2, "body": "b", "sent_at": "2026-11-24T03:00:00+00:00"}
    book.record_alert(RUN, "regressed", title="slower", error=None, **said)
    book.record_alert(RUN, "slo", title="broken", error="channel 2 answered 500", **said)
    assert [(a.title, a.error) for a in book.alerts(RUN)] == [("slower", None), ("broken", "channel 2 answered 500")]


def test_a_run_that_goes_on_is_running_again_in_its_new_process(book, make_run):
    book.start_run(make_run(), pid=111)
    book.mark_interrupted(lambda pid: False)
    taken = book.resume_run(RUN, {"cores": 2, "resumed": [{}]}, pid=222)
    assert (taken.status, taken.ended_at, taken.reason, taken.resumed) == ("running", None, None, True)
    assert book.run(RUN) == taken
    assert book.mark_interrupted(lambda pid: pid == 222) == []
    assert book.mark_interrupted(lambda pid: pid == 111) == [RUN]
