"""Who is in a fleet, who may be, and how one is stopped that does not end."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import GatebenchError, StorageError, UsageError
from tasks.load import shard
from tasks.load.clock import Offset, difference
from tasks.load.fleet import Fleet, WorkerDied
from tasks.load.leg import make_folder
from tasks.load.workers import Hello, Processes, Worker, boot_id, check, own_version, runs

HELLO = Hello(pid=1, boot_id=boot_id(), version=own_version(), has_key=False)


class Far:
    """Machines elsewhere, which must not be asked for what is on this one."""

    def __init__(self, *, near: bool, most: int | None = None) -> None:
        self.near, self.most, self.dropped, self.closed = near, most, 0, False
        self.executor = ThreadPoolExecutor(1)

    def have(self, count: int, key_env: str) -> list[Worker]:
        return [Worker("far", self.executor, HELLO, shard.interrupt, lambda: True, near=self.near)]

    def drop(self, worker: Worker, stuck: bool = False) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.executor.shutdown()
        self.closed = True


async def test_a_leg_at_a_loopback_address_is_sent_from_this_machine(sim, leg_spec):
    far = Far(near=False)
    async with Fleet(1, lambda: far) as fleet:
        leg = await fleet.run(leg_spec(sim.url))
    assert (leg.ok, leg.validity) == (12, "valid")
    assert f"(process {os.getpid()})" not in leg.workers[0].name
    assert far.closed


async def test_a_worker_may_be_a_thread_for_the_seam_is_the_executor(sim, leg_spec):
    async with Fleet(1, lambda: Far(near=True)) as fleet:
        leg = await fleet.run(leg_spec(sim.url))
    assert leg.ok == 12
    assert leg.workers[0].name.endswith(f"(process {os.getpid()})")


async def test_auto_takes_another_worker_for_a_rate_beyond_half_a_ceiling(sim, leg_spec):
    crew = Processes()
    crew.most = 2
    spec = leg_spec(sim.url, loop="open", rate_rps=100.0, duration_s=1.2, ceiling_rps=150.0)
    async with Fleet(home=crew) as fleet:
        leg = await fleet.run(spec)
        assert (len(leg.workers), leg.ok) == (2, 120)
        alone = await fleet.run(replace(spec, ceiling_rps=250.0, folder=spec.folder + "-alone"))
        assert (len(alone.workers), alone.ok) == (1, 120)


async def test_a_calibration_is_of_one_worker(sim, leg_spec):
    async with Fleet(2) as fleet:
        assert len((await fleet.run(leg_spec(sim.url, series="calibration"))).workers) == 1


# --- stopping


async def has_rows(folder: str) -> None:
    for _ in range(12_000):
        if list(Path(folder).glob("part-*.parquet")):
            return
        await asyncio.sleep(0.01)
    pytest.fail("no part was closed")


async def test_a_worker_that_does_not_end_is_given_up_and_its_rows_are_kept(sim, leg_spec, rows_of, tmp_path):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    crew = Processes()
    async with Fleet(2, home=crew, end_s=0.5) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await has_rows(spec.folder)
        stopped = crew.have(2, "")[1].hello.pid
        os.kill(stopped, signal.SIGSTOP)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = [worker.hello.pid for worker in crew.have(1, "")]
        assert stopped not in left
        again = await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))
        assert (again.ok, again.validity) == (12, "valid")
    assert '"interrupted"' in (Path(spec.folder) / "leg.json").read_text()
    assert "it did not end within" in (Path(spec.folder) / "leg.json").read_text()
    assert rows_of(spec).height > 0


async def test_a_cancel_that_comes_twice_ends_the_leg_once(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    async with Fleet(1) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await has_rows(spec.folder)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rows_of(spec).height == sim.stats()["requests"]
    assert '"interrupted"' in (Path(spec.folder) / "leg.json").read_text()


def test_what_runs_in_a_thread_is_stopped_from_another(sim, leg_spec, rows_of):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    make_folder(Path(spec.folder))
    shard.prepare(spec)
    done: list[shard.Done] = []
    thread = threading.Thread(target=lambda: done.append(shard.begin(spec.leg_id)))
    thread.start()
    while not list(Path(spec.folder).glob("part-*.parquet")):
        thread.join(0.01)
        assert thread.is_alive()
    shard.interrupt()
    thread.join(10)
    assert (done[0].stopped, done[0].rows) == ("interrupted", rows_of(spec).height)
    shard.interrupt()  # nothing runs: nothing happens


def test_a_worker_that_was_given_up_stops_by_itself(sim, leg_spec):
    sim.configure(slots=0, service_ms=5.0)
    spec = leg_spec(sim.url, requests=1_000_000, flush_s=0.05)
    make_folder(Path(spec.folder))
    shard.prepare(spec)
    (Path(spec.folder) / "leg.json").write_text("{}")
    assert shard.begin(spec.leg_id).stopped == "interrupted"


def test_a_worker_that_was_started_anew_does_not_begin_what_it_has_not_prepared():
    with pytest.raises(GatebenchError, match="has not prepared leg x; it was started anew meanwhile"):
        shard.begin("x")


def test_a_folder_that_a_worker_does_not_see_is_said_with_the_requirement(leg_spec):
    with pytest.raises(StorageError, match=r"does not see .*must share GATEBENCH_HOME"):
        shard.prepare(leg_spec())


def test_a_process_runs_until_it_is_gone_or_waits_to_be_buried(tmp_path):
    (tmp_path / "5").mkdir()
    (tmp_path / "5/stat").write_text("5 (a) Z b) S 1 5 5 0")
    (tmp_path / "6").mkdir()
    (tmp_path / "6/stat").write_text("6 (python) Z 1 6 6 0")
    assert [runs(5, tmp_path), runs(6, tmp_path), runs(7, tmp_path)] == [True, False, False]
    assert runs(7, tmp_path / "no-proc-here")


async def test_a_worker_between_legs_outlives_being_told_to_stop(sim, leg_spec, tmp_path):
    crew = Processes()
    async with Fleet(1, home=crew) as fleet:
        (worker,) = crew.have(1, "")
        for n in range(3):
            worker.interrupt()
            assert (await fleet.run(leg_spec(sim.url, folder=str(tmp_path / f"leg-{n}")))).ok == 12
        assert [one.hello.pid for one in crew.have(1, "")] == [worker.hello.pid]


# --- who may join


def test_a_worker_of_another_version_is_refused():
    with pytest.raises(UsageError, match=r"worker tcp://a has gatebench 0\.0\.1.*install the same version there"):
        check("tcp://a", replace(HELLO, version="0.0.1"), "")


def test_a_worker_without_the_key_of_the_target_is_refused(monkeypatch):
    monkeypatch.setenv("GATEBENCH_KEY_X", "k")
    with pytest.raises(UsageError, match="worker tcp://a has no GATEBENCH_KEY_X in its environment"):
        check("tcp://a", HELLO, "GATEBENCH_KEY_X")
    check("tcp://a", replace(HELLO, has_key=True), "GATEBENCH_KEY_X")
    check("tcp://a", HELLO, "GATEBENCH_KEY_Y")  # nobody has it: the target wants none


async def test_workers_that_die_at_once_are_an_error_and_no_endless_loop(leg_spec, sim):
    class Dying(Processes):
        def have(self, count: int, key_env: str) -> list[Worker]:
            workers = super().have(count, key_env)
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):  # asked again, it may hand out one that we killed before
                    os.kill(worker.hello.pid, signal.SIGKILL)
            return workers

    async with Fleet(1, home=Dying()) as fleet:
        with pytest.raises(WorkerDied, match="its process ended"):
            await fleet.run(leg_spec(sim.url))


# --- whose clock


def asked(*readings: int) -> Callable[[], int]:
    left = list(readings)
    return lambda: left.pop(0)


def test_the_quickest_probe_tells_the_other_clock():
    ours = asked(0, 100, 200, 210, 300, 500)
    theirs = asked(5_090, 5_205, 5_310)
    assert difference(theirs, 3, ours) == Offset(5_000, 5)


@pytest.mark.parametrize("there", [1, 5, 9])
def test_the_truth_lies_within_the_uncertainty_wherever_in_a_probe_the_clock_was_read(there):
    found = difference(lambda: 7_000 + there, 1, asked(0, 10))
    assert abs(found.ns - 7_000) <= found.uncertainty_ns


def test_no_probe_is_no_answer():
    with pytest.raises(ValueError, match="at least one probe"):
        difference(lambda: 0, 0)
