"""`gatebench ceiling` against real simulators whose capacity is known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import run
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import Commands, bare, commands
from tests.fakes.history import quiet_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
# A busy machine must not make a test invalid: what is tested here is not the instrument.
LIMITS = [f"health.{name}=1e9" for name in ("invalid_loop_lag_p99_ms", "invalid_lag_p99_ms", "invalid_cpu_share")]
SURE = [word for limit in [*LIMITS, "ceiling.requests=80"] for word in ("--set", limit)]
SMALL = ["--model", "m", "--no-stream", "--duration", "1s", *SURE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ceiling")


@pytest.fixture(scope="module")
def gatebench(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with (
        quiet_server(place / "server", tmp_path_factory) as ours,
        commands({**ours, **bare(), "GATEBENCH_HOME": str(place / "home")}, place) as run,
    ):
        yield run


def ceiling(gatebench: Commands, *words: str) -> tuple[int, Any, str]:
    """(exit code, what its JSON says, stderr)."""
    done = gatebench("ceiling", *words, "--json", "-")
    assert "Traceback" not in done.err
    return done.code, json.loads(done.out) if done.out else None, done.err


def test_the_capacity_of_a_simulator_is_found_in_both_loops_and_a_sweep_is_widened_as_far_as_allowed(
    gatebench: Commands, place: Path
) -> None:
    with SimulatorProcess(SimConfig(slots=4, service_ms=50.0)) as simulator:
        words = ["--url", simulator.url, *SMALL, "--concurrency", "1,2", "--requests", "24", "--blocks", "3"]
        code, found, err = ceiling(gatebench, *words, "--extend-to", "16")
        truth = simulator.stats()["capacity_rps"]
    assert code == 0, err
    assert found["schema"] == "gatebench.ceiling/1"
    assert found["ceiling"]["throughput_rps"]["point"] == pytest.approx(truth, rel=0.1)
    assert found["sustainable_rps"]["point"] == pytest.approx(truth, rel=0.1)
    assert (found["sustainable"]["limited_by"], found["sustainable"]["reached"]) == ("capacity", True)
    levels = [level["concurrency"] for level in found["levels"]]
    assert levels[:4] == [1, 2, 4, 8] and levels[-1] <= 16
    tried = found["rates"]
    assert {rate["sustained"] for rate in tried} == {True, False}
    assert "sustains" in found["headline"] and "kept up" in err
    book = Book(place / "home" / "gatebench.duckdb")
    [kept] = book.sustained(found["run_id"])
    assert [probe.rate_rps for probe in kept.probes] == [rate["rate_rps"] for rate in tried]
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert "The rate it keeps up with" in page and "rates-0" in page


def test_a_quota_is_the_limit_and_a_search_without_a_sweep_begins_where_it_is_told(gatebench: Commands) -> None:
    with SimulatorProcess(SimConfig(slots=2, service_ms=20.0, queue_limit=1)) as simulator:
        words = ["--url", simulator.url, *SMALL, "--start", "50", "--max-rate", "400", "--set", "ceiling.most=4"]
        code, found, err = ceiling(gatebench, *words)
    assert code == 0, err
    assert (found["ceiling"], found["levels"]) == (None, [])
    assert found["rates"][0]["rate_rps"] == pytest.approx(50, rel=0.01)
    assert found["sustainable"]["limited_by"] == "quota"
    assert found["sustainable_rps"]["point"] < 110


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which target? give --url"),
        (["--url", "http://127.0.0.1:1/v1", "--start", "5"], "max_rps must say how far to go"),
        (
            ["--url", "http://127.0.0.1:1/v1", "--tolerance", "2"],
            "tolerance: Input should be less than or equal to 0.5",
        ),
        (
            ["--url", "http://127.0.0.1:1/v1", "--arrivals", "gamma"],
            "arrivals: Input should be 'constant' or 'poisson'",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEBENCH_HOME", str(tmp_path))
    assert run(["ceiling", *words]) == 2
    assert said in capsys.readouterr().err
