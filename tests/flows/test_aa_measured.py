"""`gatebench aa` against a real simulator, with a Prefect server of its own."""

import json
from pathlib import Path

import pytest

from storage.store import Book
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes import pages
from tests.fakes.command import alone, bare
from tests.fakes.history import laid_out

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
# A busy machine must not make a test invalid: what is tested here is not the instrument.
LIMITS = [f"health.{name}=1e9" for name in ("invalid_loop_lag_p99_ms", "invalid_lag_p99_ms", "invalid_cpu_share")]
SURE = [word for limit in LIMITS for word in ("--set", limit)]
SMALL = [
    "--pause",
    "1s",
    "--runs",
    "3",
    "--processes",
    "1",
    "--requests",
    "40",
    "--concurrency",
    "4",
    "--blocks",
    "2",
    "--simulated",
    "2",
]


def test_a_target_against_itself_is_measured_anew_each_time_and_the_study_is_kept(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    env = {**bare(), "GATEBENCH_HOME": str(laid_out(tmp_path / "home", tmp_path_factory)), "COLUMNS": "80"}
    config = SimConfig(service_ms=20, distribution=Distribution.CONSTANT, slots=0)
    with SimulatorProcess(config) as simulator:
        [page] = [words[2:] for words in pages.commands("README.md", "gatebench") if words[1] == "aa"]
        words = [
            simulator.url if word.startswith("http") else word for word in page
        ]  # of an option the last word counts
        done = alone(env, tmp_path, "aa", *words, "--no-stream", *SMALL, *SURE, "--json", "aa.json")
    assert done.code == 0, done.err
    assert "run 3 of 3" in done.err
    assert done.out.startswith("target against itself: 3 runs, 2 blocks each")
    assert max(map(len, done.out.splitlines())) <= 80
    found = json.loads((tmp_path / "aa.json").read_text(encoding="utf-8"))
    book = Book(tmp_path / "home" / "gatebench.duckdb")
    assert [run.flow for run in book.runs()] == ["aa"] * 3
    assert found["runs"] == sorted(run.run_id for run in book.runs())
    assert book.watch.noise("last").noise_id == found["noise_id"]
    assert {(part["metric"], part["level"]) for part in found["parts"]} == {
        (metric, 4)
        for metric in ("latency_p50", "latency_p95", "throughput")  # 20 requests a block have no p99
    }
    assert found["control"]["metric"] == "latency_p50"
