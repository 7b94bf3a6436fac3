"""Both event loops for the wire; one simulator, a small workload and legs made of them for the engine."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvloop

from tasks.load.spec import BreakerSpec, HealthLimits, LegSpec, TargetSpec
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess

FRESH = {k: v for k, v in SimConfig(service_ms=2.0).to_dict().items() if k not in ("host", "port")}
GENEROUS = HealthLimits(1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 0.0, 1e6)


def pytest_asyncio_loop_factories(config, item):
    """The wire works on two loops, so its tests run on both."""
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return loops if item.path.name.startswith("test_wire") else {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def only_what_a_leg_makes_is_collected() -> Iterator[None]:
    """A leg collects before it starts, which takes .2 s of the heap of a test process and nothing of a worker's."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def _simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(SimConfig(service_ms=2.0)) as process:
        yield process


@pytest.fixture
def sim(_simulator: SimulatorProcess) -> SimulatorProcess:
    _simulator.configure(**FRESH)
    _simulator.reset()
    return _simulator


def write_workload(path: Path, arrivals: int = 8, gap_ms: int = 5) -> Path:
    """Arrivals `gap_ms` apart, each asking for one more token than the one before."""
    pl.DataFrame(
        {
            "offset_ns": [k * gap_ms * 1_000_000 for k in range(arrivals)],
            "model": ["m"] * arrivals,
            "input_tokens": [20 + k for k in range(arrivals)],
            "output_tokens": [2 + k for k in range(arrivals)],
            "max_output_tokens": [100] * arrivals,
            "stream": [k % 2 == 0 for k in range(arrivals)],
        }
    ).write_parquet(path)
    return path


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    return write_workload(tmp_path / "workload.parquet")


@pytest.fixture
def leg_spec(tmp_path: Path, workload: Path) -> Callable[..., LegSpec]:
    """A closed-loop leg of 12 streamed requests at 3 users, that never judges itself; anything may be changed."""
    base = LegSpec(
        run_id="run",
        trial_id="trial",
        leg_id="leg",
        attempt="first",
        block=1,
        target=TargetSpec("gw", "http://127.0.0.1:1/v1", "m", api_key_env=""),
        series="sweep",
        level=3,
        loop="closed",
        folder=str(tmp_path / "leg"),
        workload=str(workload),
        workload_id="w",
        seed=7,
        requests=12,
        stream=True,
        timeouts_s=(5.0, 5.0, 5.0, 5.0),
        drain_s=5.0,
        health=GENEROUS,
        breaker=BreakerSpec(enabled=False),
    )

    def make(url: str | None = None, **changes: Any) -> LegSpec:
        for name in ("transport", "models", "extra_body", "headers", "query", "token_param"):
            if name in changes:
                changes["target"] = replace(changes.get("target", base.target), **{name: changes.pop(name)})
        if url is not None:
            changes["target"] = replace(changes.get("target", base.target), url=url)
        if changes.get("loop") == "open":
            changes.setdefault("level", 0)
        return replace(base, **changes)

    return make


@pytest.fixture
def environment() -> Iterator[Callable[[str, str], None]]:
    """Sets a variable of the environment for the time of the test."""
    before: dict[str, str | None] = {}

    def put(name: str, value: str) -> None:
        before.setdefault(name, os.environ.get(name))
        os.environ[name] = value

    yield put
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture
def rows_of() -> Callable[[LegSpec], pl.DataFrame]:
    """Every row of a leg that is on disk, in the order of seq."""
    return lambda spec: pl.read_parquet(Path(spec.folder) / "part-*.parquet").sort("seq")
