"""Workers of a real Dask scheduler on loopback, one process each."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from storage.errors import StorageError, TargetError
from tasks.load.cluster import Cluster
from tasks.load.fleet import Fleet
from tasks.load.leg import run
from tasks.load.shard import prepare
from tasks.load.workers import WorkerDied

pytest.importorskip("distributed", reason="the dask extra is not installed")


@contextmanager
def started(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `dask …` process of ours, ended by its id."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=out, stderr=out, cwd=log.parent)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Machines:
    """A scheduler and its workers."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        where = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        self.scheduler = stack.enter_context(started(folder / "scheduler.log", "scheduler", *where))

    def add(self, cluster: Cluster, count: int = 1) -> None:
        for _ in range(count):
            log = self.folder / f"worker-{len(self.workers)}.log"
            options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
            self.workers.append(self.stack.enter_context(started(log, "worker", self.address, *options)))
        living = sum(worker.poll() is None for worker in self.workers)
        until(lambda: len(cluster.addresses()) == living)


def until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    pytest.fail("it did not come about within a minute")


@pytest.fixture(scope="module")
def machines(tmp_path_factory) -> Iterator[Machines]:
    with ExitStack() as stack:
        found = Machines(tmp_path_factory.mktemp("dask"), stack)
        cluster = Cluster(found.address, connect_s=60)
        try:
            found.add(cluster, 2)
        finally:
            cluster.close()
        yield found


@pytest.fixture
def two(machines: Machines) -> Machines:
    """The scheduler with two living workers."""
    missing = 2 - sum(worker.poll() is None for worker in machines.workers)
    if missing:
        cluster = Cluster(machines.address)
        machines.add(cluster, missing)
        cluster.close()
    return machines


def fleet_of(machines: Machines, workers: int | None = 2) -> Fleet:
    return Fleet(workers, lambda: Cluster(machines.address))


async def until_all_have_rows(folder: str) -> None:
    for _ in range(3000):
        if all(list(Path(folder).glob(f"part-{k}-*.parquet")) for k in range(2)):
            return
        await asyncio.sleep(0.01)
    pytest.fail("not every worker closed a part")


async def test_two_dask_workers_send_the_schedule_of_one(two, sim, leg_spec, rows_of, tmp_path):
    planned = ["seq", "phase", "intended_ns", "request_bytes", "model_asked"]
    spec = leg_spec(sim.url, loop="open", rate_rps=100.0, duration_s=0.5)
    async with fleet_of(two) as fleet:
        leg = await fleet.run(spec)
    assert (leg.ok, leg.measured, leg.lost, leg.validity) == (50, 50, 0, "valid")
    alone = leg_spec(sim.url, loop="open", rate_rps=100.0, duration_s=0.5, folder=str(tmp_path / "alone"))
    await asyncio.to_thread(run, alone)
    assert rows_of(spec).select(planned).rows() == rows_of(alone).select(planned).rows()
    assert {worker.pid for worker in two.workers if worker.poll() is None} == {
        int(worker.name.rpartition(" ")[2].rstrip(")")) for worker in leg.workers
    }
    assert [(w.clock_offset_ms, w.clock_uncertainty_ms) for w in leg.workers] == [(0.0, 0.0)] * 2


async def test_a_closed_loop_over_dask_is_one_leg_too(two, sim, leg_spec, rows_of):
    spec = leg_spec(sim.url, level=4, requests=40)
    async with fleet_of(two) as fleet:
        leg = await fleet.run(spec)
    rows = rows_of(spec)
    assert (leg.ok, leg.measured, leg.rows, sim.stats()["peak_in_flight"]) == (40, 40, rows.height, 4)
    assert rows.filter(pl.col("phase") != "cooldown")["seq"].to_list() == list(range(44))


async def test_a_killed_dask_worker_makes_the_leg_invalid_and_the_next_one_takes_who_is_left(
    two, sim, leg_spec, rows_of, tmp_path
):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, level=4, requests=1_000_000, flush_s=0.05)
    async with fleet_of(two) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await until_all_have_rows(spec.folder)
        victim = next(worker for worker in two.workers if worker.poll() is None)
        os.kill(victim.pid, signal.SIGKILL)
        leg = await task
        rows = rows_of(spec)
        assert (leg.validity, leg.stopped) == ("invalid", None)
        assert "lost worker" in leg.reasons[0]
        assert f"process {victim.pid}" in leg.reasons[0]
        assert sorted(worker.lost for worker in leg.workers) == [False, True]
        assert rows["shard"].unique().sort().to_list() == [0, 1]
        assert rows.height == leg.rows
        again = await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))
        assert (again.ok, again.validity, len(again.workers)) == (12, "valid", 1)


async def test_a_cancelled_leg_over_dask_ends_at_its_workers(two, sim, leg_spec, rows_of, tmp_path):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, level=4, requests=1_000_000, flush_s=0.05)
    async with fleet_of(two) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await until_all_have_rows(spec.folder)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rows_of(spec).height == sim.stats()["requests"]
        assert (await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))).ok == 12


async def test_more_workers_than_there_are_is_as_many_as_there_are(two, sim, leg_spec):
    async with fleet_of(two, workers=3) as fleet:
        assert len((await fleet.run(leg_spec(sim.url))).workers) == 2


async def test_a_worker_that_does_not_see_the_shared_folder_says_so(two, leg_spec):
    cluster = await asyncio.to_thread(Cluster, two.address)
    (worker,) = await asyncio.to_thread(cluster.have, 1, "")
    future = worker.executor.submit(prepare, leg_spec())
    with pytest.raises(StorageError, match="must share GATEBENCH_HOME"):
        await asyncio.to_thread(future.result)
    await asyncio.to_thread(cluster.close)


async def test_the_clock_of_another_machine_is_measured(two):
    cluster = await asyncio.to_thread(Cluster, two.address)
    (worker,) = await asyncio.to_thread(cluster.have, 1, "")
    far = await asyncio.to_thread(replace(worker, near=False).clock)  # it is our own, so the truth is known
    assert abs(far.ns) <= far.uncertainty_ns
    assert 0 < far.uncertainty_ns < 1_000_000_000
    await asyncio.to_thread(cluster.close)


async def test_a_scheduler_without_workers_says_how_to_start_one(tmp_path, sim, leg_spec):
    with ExitStack() as stack:
        empty = Machines(tmp_path, stack)
        async with Fleet(2, lambda: Cluster(empty.address, connect_s=60)) as fleet:
            with pytest.raises(WorkerDied, match=f"has no worker; start one: dask worker {empty.address}"):
                await fleet.run(leg_spec(sim.url))


async def test_a_scheduler_that_dies_in_a_leg_is_a_lost_worker_too(tmp_path, sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=5.0)
    with ExitStack() as stack:
        frail = Machines(tmp_path, stack)
        cluster = await asyncio.to_thread(Cluster, frail.address, 60)
        await asyncio.to_thread(frail.add, cluster, 1)
        spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
        async with Fleet(1, lambda: cluster, end_s=1.0) as fleet:
            task = asyncio.create_task(fleet.run(spec))
            while not list(Path(spec.folder).glob("part-*.parquet")):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            frail.scheduler.kill()
            leg = await task
        assert (leg.validity, leg.workers[0].lost) == ("invalid", True)
        assert rows_of(spec).height >= leg.rows > 0


def test_no_scheduler_is_said_with_the_name_of_the_setting():
    with pytest.raises(TargetError, match=r"no Dask scheduler answers at tcp.*GATEBENCH_DASK_SCHEDULER"):
        Cluster("tcp://127.0.0.1:1", connect_s=0.5)
