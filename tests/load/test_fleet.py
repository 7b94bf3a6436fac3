"""Legs in a worker process: stopped by hand, killed, and gone on with afterwards."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from storage.errors import UsageError
from tasks.load.fleet import Fleet
from tasks.load.workers import Processes


async def until_rows_are_on_disk(folder: str) -> None:
    for _ in range(12_000):
        if list(Path(folder).glob("part-*.parquet")):
            return
        await asyncio.sleep(0.01)
    pytest.fail("no part was closed")


def pids(crew: Processes, count: int = 1) -> list[int]:
    return [worker.hello.pid for worker in crew.have(count, "")]


async def test_a_cancelled_leg_keeps_its_rows_is_marked_and_the_worker_goes_on(sim, leg_spec, rows_of, tmp_path):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    crew = Processes()
    async with Fleet(home=crew) as fleet:
        (worker,) = pids(crew)
        task = asyncio.create_task(fleet.run(spec))
        await until_rows_are_on_disk(spec.folder)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        manifest = json.loads((Path(spec.folder) / "leg.json").read_text())
        rows = rows_of(spec)
        assert (manifest["stopped"], manifest["validity"], manifest["reasons"][0]) == (
            "interrupted",
            "invalid",
            "interrupted",
        )
        assert rows.height == manifest["rows"] == sim.stats()["requests"]
        assert manifest["lost"] == 1_000_000 - manifest["measured"]
        again = leg_spec(sim.url, folder=str(tmp_path / "again"))
        assert ((await fleet.run(again)).ok, pids(crew)) == (12, [worker])


async def test_an_interrupt_does_not_wait_for_answers_that_never_come_nor_for_a_far_start(sim, leg_spec, rows_of):
    sim.configure(slots=0, faults=["stall"])
    long = {"timeouts_s": (600.0,) * 4, "drain_s": 600.0}
    spec = leg_spec(sim.url, loop="open", rate_rps=0.01, duration_s=1000.0, stream=False, **long)
    async with Fleet() as fleet:
        task = asyncio.create_task(fleet.run(spec))
        while sim.stats()["in_flight"] == 0:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rows_of(spec)["failure"].to_list() == ["cancelled"]
    assert json.loads((Path(spec.folder) / "leg.json").read_text())["stopped"] == "interrupted"


async def test_a_killed_worker_makes_the_leg_invalid_keeps_its_closed_parts_and_the_next_leg_has_a_new_one(
    sim, leg_spec, rows_of, tmp_path
):
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    crew = Processes()
    async with Fleet(home=crew) as fleet:
        (worker,) = pids(crew)
        task = asyncio.create_task(fleet.run(spec))
        await until_rows_are_on_disk(spec.folder)
        os.kill(worker, signal.SIGKILL)
        leg = await task
        rows = rows_of(spec)
        assert (leg.validity, leg.stopped) == ("invalid", None)
        assert leg.reasons[0].startswith("lost worker 0 of 1, ")
        assert f"process {worker}" in leg.reasons[0]
        assert rows.height == leg.rows > 0
        assert rows["seq"].is_unique().all()
        assert leg.measured + leg.lost == 1_000_000
        assert leg.ok + sum(leg.failed.values()) == leg.measured
        assert sim.stats()["requests"] - rows.height < 3 * 1000  # 0.05 s at far below 60,000/s
        again = await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))
        assert (again.ok, again.validity) == (12, "valid")
        assert pids(crew) != [worker]


async def test_a_worker_that_died_between_legs_is_replaced(sim, leg_spec):
    crew = Processes()
    async with Fleet(home=crew) as fleet:
        (worker,) = pids(crew)
        os.kill(worker, signal.SIGKILL)
        await asyncio.sleep(0.2)
        assert (await fleet.run(leg_spec(sim.url))).ok == 12
        assert pids(crew) != [worker]


async def test_a_legs_own_error_comes_back_as_itself(leg_spec, tmp_path):
    async with Fleet() as fleet:
        with pytest.raises(UsageError, match="cannot read the workload"):
            await fleet.run(leg_spec(workload=str(tmp_path / "gone.parquet")))


async def test_the_worker_ends_with_its_fleet(sim, leg_spec):
    crew = Processes()
    async with Fleet(home=crew):
        (worker,) = pids(crew)
    for _ in range(500):
        if not Path(f"/proc/{worker}").exists():
            break
        await asyncio.sleep(0.01)
    assert not Path(f"/proc/{worker}").exists()
