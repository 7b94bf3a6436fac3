"""Nights that are killed, on a real Prefect server with a real worker: the flow, the worker, both, the server, and one
that is cancelled. Rows are kept, the run is marked, somebody hears of it, the slot is free, and the next night is fine.

The tests share a server and go on from one another, in the order of the file.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import polars as pl
import pytest
from prefect.states import Cancelling, Scheduled

from storage.records import Run
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.history import laid_out
from tests.fakes.prefects import Prefect, flows_of, kill, until
from tests.fakes.receivers import Receiver

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]

PLAN = """
name = "gw"
[[targets]]
name = "gw"
url = "{url}"
model = "m"
[sweep]
levels = [1]
requests = 1000
blocks = 5
[replay]
enabled = false
[control]
enabled = false
[health]  # how busy this machine is meanwhile is not the question
suspect_lag_p99_ms = 1e6
invalid_lag_p99_ms = 1e6
suspect_loop_lag_p99_ms = 1e6
invalid_loop_lag_p99_ms = 1e6
suspect_cpu_share = 1e6
invalid_cpu_share = 1e6
ceiling_share = 1e6
"""
SERVICE_MS = 5.0  # a leg of 200 requests and its warm-up takes something above a second


class House:
    """One data root, its Prefect, its target and whoever is told."""

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.port = port  # of the target
        self.receiver = Receiver()
        self.prefect = Prefect(
            home, GATEBENCH_ALERT_URLS=self.receiver.url(), GATEBENCH_FLUSH_S="0.2", GATEBENCH_RUN_WAIT_S="120"
        )
        self.book = Book(home / "gatebench.duckdb")
        self.home = home
        self.server: subprocess.Popen[bytes]
        self.worker: subprocess.Popen[bytes]
        self.flow_run: UUID  # of the night that is killed first and retried after that
        self.runs: list[str] = []  # ids of the runs in the book, as they were begun

    def told(self) -> list[str]:
        return [message["title"] for _, message in self.receiver.got]

    def night(self) -> tuple[UUID, str]:
        """(Prefect's run, ours), with one whole leg and rows of the next on disk."""
        flow_run = self.prefect.submit("nightly/nightly")
        run_id = until("the night is in the book", self._new)
        until("a leg is whole and another begun", lambda: self.is_under_way(run_id))
        return flow_run, run_id

    def _new(self) -> str | None:
        fresh = [path.name for path in (self.home / "runs").glob("*-nightly-*") if path.name not in self.runs]
        self.runs += fresh
        return fresh[0] if fresh else None

    def is_under_way(self, run_id: str) -> bool:
        folder = self.home / "runs" / run_id
        half = [one for one in folder.glob("first-*") if any(one.glob("part-*")) and not (one / "leg.json").exists()]
        return bool(half) and any(folder.glob("first-*/leg.json"))

    def rows(self, run_id: str, where: str) -> int:
        parts = list((self.home / "runs" / run_id).glob(where))
        return sum(pl.read_parquet(part, columns=["seq"]).height for part in parts)

    def ended(self, run_id: str, status: str) -> Run:
        return until(f"{run_id} is {status}", lambda: self._is(run_id, status))

    def _is(self, run_id: str, status: str) -> Run | None:
        run = self.book.run(run_id)
        return run if run.status == status else None

    def slots(self, port: int | None = None) -> int:
        """How many runs hold the slot of a target on this machine, at first of the nights'."""
        (held,) = [n for name, n in self.prefect.taken().items() if name.endswith(f"-{port or self.port}")]
        return held

    def baseline(self) -> list[str]:
        return [run for segment in self.book.segments() for run in self.book.baseline_runs(segment.segment_id)]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, house: "House") -> Iterator[int]:
    """The port of another target, whose only run was killed and left its slot behind, in another data root."""
    home = tmp_path_factory.mktemp("elsewhere")
    with SimulatorProcess(SimConfig(service_ms=SERVICE_MS, slots=0)) as simulator:
        port = urlsplit(simulator.url).port
        assert port is not None
        words = ["sweep", "--url", simulator.url, "--requests", "5000", "--concurrency", "1", "--no-control"]
        process = house.prefect.gatebench(*words, home=home)
        until("it measures", lambda: any(home.glob("runs/*/first-*/part-*")))
        process.kill()
        process.communicate(timeout=60)
        assert house.slots(port) == 1
        yield port


@pytest.fixture(scope="module")
def target() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(SimConfig(service_ms=SERVICE_MS, slots=0)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, target: SimulatorProcess) -> Iterator[House]:
    home = laid_out(tmp_path_factory.mktemp("killed"), tmp_path_factory)
    one = House(home, urlsplit(target.url).port)
    plan = home / "gw.toml"
    plan.write_text(PLAN.format(url=target.url))
    try:
        one.server = one.prefect.serve()
        deploy = one.prefect.gatebench("deploy", "--plan", str(plan), GATEBENCH_ALERT_URLS="")
        out, err = deploy.communicate(timeout=120)
        assert deploy.returncode == 0, out + err
        one.worker = one.prefect.work()
        yield one
    finally:
        one.prefect.stop()
        one.receiver.stop()


def test_a_flow_that_is_killed_crashes_and_is_told_and_its_rows_are_kept(house: House, elsewhere: int) -> None:
    house.flow_run, run_id = house.night()
    (pid,) = flows_of(house.home)
    kill(pid)
    assert house.prefect.ended(house.flow_run).name == "Crashed"
    run = house.ended(run_id, "interrupted")
    assert run.reason == f"process {pid} ended without closing the run"
    until("somebody is told", lambda: house.told() == ["gatebench: gw failed"])
    assert "the run was interrupted" in house.receiver.got[0][1]["message"]
    assert house.rows(run_id, "first-*/part-*.parquet") > 200
    assert house.book.legs(run_id)  # `gatebench show` has something to show
    # Once the hook has ended, the worker says a second time that the run has crashed: not before that is it retried.
    log = house.home / "prefect" / "worker.log"
    until("the worker is done with it", lambda: log.read_text().count("exceeded its memory allocation") == 2)


def test_retried_it_goes_on_at_the_next_leg_and_asks_nothing_twice(house: House, target: SimulatorProcess) -> None:
    run_id = house.runs[-1]
    folder = house.home / "runs" / run_id
    whole = {path.parent.name: path.read_bytes() for path in folder.glob("first-*/leg.json")}
    half = house.rows(run_id, "first-*/part-*.parquet") - sum(json.loads(text)["rows"] for text in whole.values())
    assert half > 0
    target.reset()
    house.prefect.set_state(house.flow_run, Scheduled())
    assert house.prefect.ended(house.flow_run).type.value == "COMPLETED"
    run = house.book.run(run_id)
    assert (run.status, run.resumed) == ("completed", True)
    assert {name: (folder / name / "leg.json").read_bytes() for name in whole} == whole
    swept = [leg for leg in house.book.legs(run_id) if leg.series == "sweep"]
    assert [leg.measured for leg in swept] == [200] * 5
    again = sum(leg.rows for leg in swept if leg.leg_id not in whole)
    assert target.stats()["requests"] == again + 1  # the one before is the question whether it is there
    rows = pl.scan_parquet(folder / "first-*" / "part-*.parquet").select("leg_id", "seq", "phase").collect()
    assert rows.height == rows.unique().height == sum(leg.rows for leg in swept)
    assert house.rows(run_id, "*/unfinished-0/part-*.parquet") == half
    (one,) = run.environment["resumed"]
    assert (one["kept"], one["rows_set_aside"], one["status"]) == (len(whole), half, "interrupted")
    assert "Resumed after it had stopped" in Path(str(run.report)).read_text()
    assert house.baseline() == []
    assert house.slots() == 0


def test_a_night_outlives_its_worker_and_its_server(house: House) -> None:
    flow_run, run_id = house.night()
    kill(house.worker.pid)
    kill(house.server.pid)
    time.sleep(2)
    house.server = house.prefect.serve()
    house.ended(run_id, "completed")
    assert house.prefect.ended(flow_run).type.value == "COMPLETED"
    assert house.baseline() == [run_id]
    house.worker = house.prefect.work()


def test_a_night_that_is_cancelled_is_marked_and_told_and_can_go_on(house: House) -> None:
    before = len(house.told())
    flow_run, run_id = house.night()
    assert house.slots() == 1
    house.prefect.set_state(flow_run, Cancelling())
    assert house.prefect.ended(flow_run).type.value == "CANCELLED"
    run = house.ended(run_id, "cancelled")
    assert run.exit_code == 130
    assert str(run.reason).endswith(f"gatebench resume {run_id} measures the rest")
    assert house.told()[before:] == ["gatebench: gw cancelled"]
    assert house.rows(run_id, "first-*/part-*.parquet") > 200
    assert house.slots() == 0


def test_a_flow_that_dies_with_its_worker_is_marked_and_told_by_the_next_night_which_is_fine(house: House) -> None:
    before = len(house.told())
    flow_run, run_id = house.night()
    for pid in (house.worker.pid, *flows_of(house.home)):
        kill(pid)
    time.sleep(1)
    assert house.prefect.state(flow_run).name == "Running"  # nobody is left to say anything else
    assert house.slots() == 1
    assert house.prefect.ask(lambda client: close_all()) == 1
    house.worker = house.prefect.work()
    flow_run, next_id = house.night()
    house.ended(run_id, "interrupted")
    assert house.told()[before:] == ["gatebench: gw failed"]
    assert house.prefect.ended(flow_run).type.value == "COMPLETED"
    assert house.ended(next_id, "completed").resumed is False
    assert house.baseline()[-1] == next_id
    assert house.slots() == 0


def test_the_slot_of_a_run_that_nobody_followed_is_free_when_its_lease_has_run_out(
    house: House, elsewhere: int
) -> None:
    until("the slot is free", lambda: house.slots(elsewhere) == 0)


async def close_all() -> int:
    """What `gatebench up` does when it starts: how many runs without a process there were."""
    from deployments.unfinished import close, flow_works

    return len(await close("gatebench", flow_works))
