"""One leg over two workers: together what one would have sent, begun at one instant, and never silently smaller."""

import asyncio
import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from storage.errors import StorageError
from storage.files import RunFiles
from tasks.load.fleet import Fleet
from tasks.load.leg import run
from tasks.load.meeting import Others
from tasks.load.requests import Arrivals, Requests
from tasks.load.shard import busiest_rps
from tasks.load.spec import BreakerSpec, BudgetSpec
from tasks.load.stripes import at_most, measured_of, split, users_of, wanted
from tasks.load.workers import Processes

PATIENT = 120.0  # s: what is tested is how a leg ends, not how soon
PLANNED = ["seq", "phase", "request_bytes", "model_asked", "stream", "target", "level"]


def measured(rows: pl.DataFrame, *columns: str) -> list[tuple]:
    """Of warm-up and measured rows: the cool-down of a closed loop depends on how fast the target was."""
    return rows.filter(pl.col("phase") != "cooldown").sort("seq").select(*PLANNED, *columns).rows()


async def until_all_have_rows(folder: str, shards: int) -> None:
    for _ in range(12_000):
        if all(list(Path(folder).glob(f"part-{k}-*.parquet")) for k in range(shards)):
            return
        await asyncio.sleep(0.01)
    pytest.fail("not every worker closed a part")


async def test_two_workers_send_the_schedule_of_one(sim, leg_spec, rows_of, tmp_path):
    spec = leg_spec(sim.url, loop="open", rate_rps=200.0, duration_s=0.5, warmup_s=0.1)
    alone = replace(spec, folder=str(tmp_path / "alone"))
    async with Fleet(workers=2) as fleet:
        leg = await fleet.run(spec)
    assert (leg.ok, leg.measured, leg.scheduled, leg.lost, leg.validity) == (100, 100, 100, 0, "valid")
    rows = rows_of(spec)
    await asyncio.to_thread(run, alone)
    assert measured(rows, "intended_ns") == measured(rows_of(alone), "intended_ns")
    assert rows["shard"].to_list() == [seq % 2 for seq in rows["seq"]]
    assert rows.select((pl.col("sent_ns") - pl.col("intended_ns")).min()).item() >= 0
    assert leg.health.offered_rps == pytest.approx(200.0)


async def test_two_workers_share_the_users_and_the_requests_of_a_closed_loop(sim, leg_spec, rows_of, tmp_path):
    spec = leg_spec(sim.url, level=5, requests=41)
    alone = replace(spec, folder=str(tmp_path / "alone"))
    async with Fleet(workers=2) as fleet:
        leg = await fleet.run(spec)
    assert (leg.ok, leg.measured, leg.scheduled, leg.lost, leg.validity) == (41, 41, 41, 0, "valid")
    assert sim.stats()["peak_in_flight"] <= 5
    assert rows_of(spec).filter(pl.col("phase") == "warmup").height == 5
    await asyncio.to_thread(run, alone)
    assert measured(rows_of(spec)) == measured(rows_of(alone))
    assert [(w.shard, w.lost, w.measured) for w in leg.workers] == [(0, False, 20), (1, False, 21)]
    assert not list(Path(spec.folder).glob("ended-*"))


async def test_each_worker_has_its_health_and_the_leg_can_be_read_back(sim, leg_spec, tmp_path):
    runs = RunFiles(tmp_path, "run")
    spec = leg_spec(sim.url, loop="open", rate_rps=100.0, duration_s=0.3, folder=str(tmp_path / "run" / "leg"))
    async with Fleet(workers=2) as fleet:
        leg = await fleet.run(spec)
    (read,) = runs.legs()
    assert read == leg
    one, two = leg.workers
    assert (one.health.schedule_lag_p99_ms, two.health.schedule_lag_p99_ms) != (None, None)
    assert leg.health.cpu_share == max(one.health.cpu_share, two.health.cpu_share)
    assert leg.health.schedule_lag_max_ms == max(one.health.schedule_lag_max_ms, two.health.schedule_lag_max_ms)
    assert (one.clock_offset_ms, two.clock_offset_ms) == (0.0, 0.0)
    assert one.name != two.name
    assert runs.samples().collect().height == leg.rows == one.rows + two.rows


async def test_all_workers_begin_at_the_agreed_instant(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=20.0)
    spec = leg_spec(sim.url, level=2, requests=10)
    async with Fleet(workers=2) as fleet:
        leg = await fleet.run(spec)
    first = rows_of(spec).filter(pl.col("phase") == "warmup")
    assert first["shard"].sort().to_list() == [0, 1]
    assert (first["sent_ns"] >= 0).all()
    assert first.select("intended_ns").unique().rows() == [(0,)]
    assert all(worker.late_ms is not None for worker in leg.workers)


@pytest.mark.parametrize("loop", ["closed", "open"])
async def test_a_killed_worker_makes_the_leg_invalid_and_the_others_rows_are_kept(
    sim, leg_spec, rows_of, tmp_path, loop
):
    sim.configure(slots=0, service_ms=5.0)
    changes = {"level": 4, "requests": 100_000} if loop == "closed" else {"rate_rps": 200.0, "duration_s": 600.0}
    spec = leg_spec(sim.url, loop=loop, flush_s=0.05, **changes)
    crew = Processes()
    async with Fleet(workers=2, end_s=PATIENT, home=crew) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await until_all_have_rows(spec.folder, 2)
        killed = crew.have(2, "")[1].hello.pid
        os.kill(killed, signal.SIGKILL)
        leg = await task
        rows = rows_of(spec)
        assert (leg.validity, leg.stopped) == ("invalid", None)
        assert leg.reasons[0].startswith("lost worker 1 of 2, ")
        assert f"process {killed}" in leg.reasons[0]
        assert [(w.shard, w.lost, w.health is None) for w in leg.workers] == [(0, False, False), (1, True, True)]
        assert rows["shard"].unique().sort().to_list() == [0, 1]
        assert rows["seq"].is_unique().all()
        assert rows.height == leg.rows == sum(worker.rows for worker in leg.workers)
        assert leg.ok + sum(leg.failed.values()) == leg.measured
        assert leg.lost == leg.scheduled - leg.measured > 0
        assert json.loads((Path(spec.folder) / "leg.json").read_text())["workers"][1]["lost"] is True
        again = await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))
        assert (again.ok, again.validity, len(again.workers)) == (12, "valid", 2)


async def test_a_cancelled_leg_of_two_keeps_the_rows_of_both(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    async with Fleet(workers=2, end_s=PATIENT) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await until_all_have_rows(spec.folder, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    manifest = json.loads((Path(spec.folder) / "leg.json").read_text())
    assert (manifest["stopped"], manifest["validity"]) == ("interrupted", "invalid")
    assert rows_of(spec).height == manifest["rows"] == sim.stats()["requests"]


async def test_the_breaker_of_one_worker_stops_the_leg(sim, leg_spec):
    sim.configure(faults=["error:status=500"])
    spec = leg_spec(sim.url, level=4, requests=100_000, breaker=BreakerSpec(min_requests=20))
    async with Fleet(workers=2, end_s=PATIENT) as fleet:
        leg = await fleet.run(spec)
    assert (leg.stopped, leg.validity) == ("breaker", "invalid")
    assert leg.reasons[0].startswith("error breaker: ")
    assert leg.rows < 5000


async def test_a_budget_of_requests_is_never_overstepped_by_all_together(sim, leg_spec):
    async with Fleet(workers=2, end_s=PATIENT) as fleet:
        leg = await fleet.run(leg_spec(sim.url, requests=500, level=4, budget=BudgetSpec(requests=25)))
    assert (leg.stopped, leg.rows, sim.stats()["requests"]) == ("budget", 25, 25)


async def test_an_error_of_one_worker_stops_the_other_and_comes_back_as_itself(sim, leg_spec):
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    async with Fleet(workers=2, end_s=PATIENT) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await until_all_have_rows(spec.folder, 2)
        taken = [Path(spec.folder) / f"part-1-{n:05d}.tmp" for n in range(2000)]
        for path in taken:
            if not path.exists():
                path.mkdir()
        with pytest.raises(StorageError, match="cannot write samples"):
            await task
    assert not (Path(spec.folder) / "leg.json").exists()


# --- a leg is measured once


async def test_a_leg_that_was_never_closed_is_begun_afresh_and_its_old_rows_are_set_aside(
    sim, leg_spec, rows_of, tmp_path
):
    spec = leg_spec(sim.url, folder=str(tmp_path / "run" / "leg"))
    await asyncio.to_thread(run, spec)
    before = rows_of(spec).height
    (Path(spec.folder) / "leg.json").unlink()
    async with Fleet() as fleet:
        leg = await fleet.run(spec)
    assert rows_of(spec).height == leg.rows == RunFiles(tmp_path, "run").samples().collect().height
    assert pl.read_parquet(Path(spec.folder) / "unfinished-0" / "part-*.parquet").height == before


async def test_a_closed_leg_is_not_measured_again(sim, leg_spec, rows_of):
    spec = leg_spec(sim.url)
    async with Fleet() as fleet:
        leg = await fleet.run(spec)
        with pytest.raises(StorageError, match="is a closed leg"):
            await fleet.run(spec)
    assert rows_of(spec).height == leg.rows


# --- who does how much


@pytest.mark.parametrize(
    ("rate", "ceiling", "loop", "most", "workers"),
    [
        (100.0, 10_000.0, "open", 8, 1),
        (5_000.0, 10_000.0, "open", 8, 1),
        (5_001.0, 10_000.0, "open", 8, 2),
        (38_000.0, 10_000.0, "open", 8, 8),
        (90_000.0, 10_000.0, "open", 8, 8),
        (90_000.0, 10_000.0, "open", None, 1),
        (None, 10_000.0, "open", 8, 1),
        (38_000.0, None, "open", 8, 1),
        (38_000.0, 10_000.0, "closed", 8, 1),
    ],
)
def test_auto_keeps_each_worker_below_half_of_its_ceiling(leg_spec, rate, ceiling, loop, most, workers):
    assert wanted(leg_spec(loop=loop, ceiling_rps=ceiling), rate, most) == workers


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
@pytest.mark.parametrize(("level", "requests"), [(7, 7), (10, 100), (9, 41), (100, 1000)])
def test_users_and_requests_are_dealt_out_without_a_rest(leg_spec, shards, level, requests):
    parts = split(leg_spec(level=level, requests=requests), shards)
    assert sum(users_of(part) for part in parts) == level
    assert sum(measured_of(part) for part in parts) == requests
    assert min(users_of(part) for part in parts) >= 1
    assert max(users_of(part) for part in parts) - min(users_of(part) for part in parts) <= 1
    slow = [[s for s in range(level, level + requests) if s % shards == k] for k in range(shards)]
    assert [measured_of(part) for part in parts] == [len(mine) for mine in slow]


def test_what_may_be_spent_is_dealt_out_and_adds_up(leg_spec):
    budget = BudgetSpec(requests=100, output_tokens=1001, usd=1.5, wall_s=60.0)
    parts = split(leg_spec(budget=budget, max_in_flight=10, breaker=BreakerSpec(min_requests=20)), 3)
    assert [part.budget.requests for part in parts] == [34, 33, 33]
    assert [part.budget.output_tokens for part in parts] == [334, 334, 333]
    assert [part.budget.usd for part in parts] == [0.5, 0.5, 0.5]
    assert [part.budget.wall_s for part in parts] == [60.0, 60.0, 60.0]
    assert [part.max_in_flight for part in parts] == [4, 3, 3]
    assert [part.breaker.min_requests for part in parts] == [7, 7, 7]
    assert [(part.shard, part.shards) for part in parts] == [(0, 3), (1, 3), (2, 3)]


def test_a_limit_that_is_not_set_is_not_dealt_out(leg_spec):
    assert asdict(split(leg_spec(), 2)[1].budget) == asdict(BudgetSpec())


def test_nobody_is_there_without_work(leg_spec):
    assert at_most(leg_spec(level=3, requests=100)) == 3
    assert at_most(leg_spec(level=30, requests=2)) == 2
    assert at_most(leg_spec(loop="open", rate_rps=1.0, max_in_flight=4)) == 4
    assert at_most(leg_spec(level=30, requests=200, budget=BudgetSpec(requests=5))) == 5


def test_the_same_request_is_made_by_whichever_worker_makes_it(leg_spec, workload):
    arrivals = Arrivals.read(str(workload))
    one, two = (Requests(part, arrivals) for part in split(leg_spec(), 2))
    assert [one.make(k, k % 8).payload for k in range(50)] == [two.make(k, k % 8).payload for k in range(50)]


def test_the_rate_asked_for_is_that_of_the_busiest_second(leg_spec, tmp_path):
    path = tmp_path / "bursts.parquet"
    pl.DataFrame(
        {
            "offset_ns": [0, 10**9, 10**9 + 1, 2 * 10**9 - 1, 2 * 10**9, 9 * 10**9],
            "model": ["m"] * 6,
            "input_tokens": [1] * 6,
            "output_tokens": [1] * 6,
            "max_output_tokens": [1] * 6,
            "stream": [True] * 6,
        }
    ).write_parquet(path)
    assert busiest_rps(leg_spec(loop="open", workload=str(path))) == 3.0
    assert busiest_rps(leg_spec(loop="open", rate_rps=50.0, duration_s=4.0)) == 50.0


# --- ending together


async def test_nobody_waits_for_a_worker_whose_budget_ended_first(sim, leg_spec):
    budget = BudgetSpec(requests=41)
    async with Fleet(workers=2) as fleet:
        leg = await asyncio.wait_for(fleet.run(leg_spec(sim.url, level=2, requests=38, budget=budget)), PATIENT)
    assert leg.rows <= 41
    assert leg.measured + leg.lost == 38


def test_who_leaves_is_not_waited_for_although_it_never_ended_its_requests(tmp_path):
    one, two = (Others(tmp_path, k, 2) for k in range(2))
    two.leave()
    assert one.all_ended() is True


def test_a_folder_that_takes_no_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*ended-0"):
        Others(tmp_path / "gone", 0, 2).all_ended()


def test_a_worker_goes_on_until_the_others_have_ended_too(tmp_path):
    now = [0]
    one, two = (Others(tmp_path, k, 2, lambda: now[0]) for k in range(2))
    assert one.all_ended() is False
    now[0] += 10_000_000
    assert two.all_ended() is True
    assert one.all_ended() is False  # it does not look at the disk for every request
    now[0] += 20_000_000
    assert one.all_ended() is True
    assert (one.all_ended(), two.all_ended()) == (True, True)
