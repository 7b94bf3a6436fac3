"""Two real runs at once: on one machine, and of one target from two data roots that share a Prefect server."""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.history import laid_out
from tests.fakes.prefects import Prefect, until

MEASURED = {0, 12}  # 12: other tests kept this machine too busy to trust the numbers
pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    one = Prefect(laid_out(tmp_path_factory.mktemp("server"), tmp_path_factory), GATEBENCH_FLUSH_S="0.2")
    try:
        one.serve()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def target() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(SimConfig(service_ms=5.0, slots=0)) as simulator:
        yield simulator


def sweep(
    prefect: Prefect, target: SimulatorProcess, home: Path, requests: int, **settings: str
) -> subprocess.Popen[str]:
    words = ["sweep", "--url", target.url, "--concurrency", "1", "--blocks", "2", "--no-control", "--name", home.name]
    return prefect.gatebench(*words, "--requests", str(requests), home=home, **settings)


def measures(home: Path) -> bool:
    return any(home.glob("runs/*/first-*/part-*.parquet"))


def spans(home: Path) -> list[tuple[datetime, datetime]]:
    """When each leg of a data root was measured."""
    legs = [json.loads(path.read_text()) for path in home.glob("runs/*/first-*/leg.json")]
    begun = [(datetime.fromisoformat(leg["started_at"]), leg["duration_s"]) for leg in legs]
    return [(start, start + timedelta(seconds=seconds)) for start, seconds in begun]


def test_of_one_target_the_second_waits_by_name_and_the_third_has_not_the_patience(
    prefect: Prefect, target: SimulatorProcess, tmp_path: Path
) -> None:
    a, b, c = (tmp_path / name for name in ("a", "b", "c"))
    first = sweep(prefect, target, a, 2000)
    until("the first measures", lambda: measures(a))
    third = sweep(prefect, target, c, 10, GATEBENCH_RUN_WAIT_S="0")
    second = sweep(prefect, target, b, 20, GATEBENCH_RUN_WAIT_S="300")
    said = {name: process.communicate(timeout=200)[1] for name, process in (("c", third), ("b", second), ("a", first))}
    assert {first.returncode, second.returncode} <= MEASURED, said
    assert third.returncode == 16, said
    last = said["c"].splitlines()[-1]
    assert last.startswith("gatebench: flow run 'sweep a' still measures the same target (bench-"), said["c"]
    assert last.endswith("let it end, or give GATEBENCH_RUN_WAIT_S more seconds")
    assert "waiting for flow run 'sweep a', which measures the same target; 5 min at most" in said["b"]
    assert "waiting" not in said["a"]
    assert max(end for _, end in spans(a)) <= min(start for start, _ in spans(b))
    assert list(c.glob("runs/*")) == []
    assert set(prefect.taken().values()) == {0}


def test_on_one_machine_the_second_waits_until_the_first_is_dead_and_finds_its_slot_free(
    prefect: Prefect, target: SimulatorProcess, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    first = sweep(prefect, target, home, 5000)
    until("the first measures", lambda: measures(home))
    assert list(prefect.taken().values()) == [1]  # its lease still has a minute to run when it is killed
    (run,) = (path.name for path in home.glob("runs/*"))
    second = sweep(prefect, target, home, 20, GATEBENCH_RUN_WAIT_S="300")
    assert second.stderr is not None
    lines: list[str] = []
    until("the second waits", lambda: "waiting for" in "".join(lines) or lines.append(second.stderr.readline()))
    first.kill()
    first.communicate(timeout=60)
    said = "".join(lines) + second.communicate(timeout=300)[1]
    assert second.returncode in MEASURED, said
    assert f"waiting for sweep adhoc ({run}, process {first.pid}, since " in said
    assert f"run {run} was interrupted; its rows are kept: gatebench show {run}" in said
    assert list(prefect.taken().values()) == [0]
