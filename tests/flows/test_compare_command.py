"""`gatebench compare` against real simulators: equal ones, a slower one, one behind the other, and a plan."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import run
from storage.store import Book
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import Commands, bare, commands
from tests.fakes.history import quiet_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
# A busy machine must not make a test invalid: what is tested here is not the instrument.
LIMITS = [f"health.{name}=1e9" for name in ("invalid_loop_lag_p99_ms", "invalid_lag_p99_ms", "invalid_cpu_share")]
SURE = [word for limit in LIMITS for word in ("--set", limit)]
SMALL = ["--model", "m", "--requests", "80", "--concurrency", "2", "--blocks", "4", "--no-stream", *SURE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def gatebench(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with (
        quiet_server(place / "server", tmp_path_factory) as ours,
        commands({**ours, **bare(), "GATEBENCH_HOME": str(place / "home")}, place) as run,
    ):
        yield run


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    def made(service_ms: float) -> SimConfig:
        return SimConfig(service_ms=service_ms, distribution=Distribution.CONSTANT, slots=0)

    with (
        SimulatorProcess(made(30)) as main,
        SimulatorProcess(made(30)) as same,
        SimulatorProcess(made(90)) as slower,
    ):
        yield {"main": main.url, "same": same.url, "slower": slower.url}


def compare(gatebench: Commands, *words: str) -> tuple[int, str, str]:
    done = gatebench("compare", *words)
    assert "Traceback" not in done.err
    return done.code, done.out, done.err


def test_a_candidate_like_the_baseline_passes(gatebench: Commands, urls: dict[str, str]) -> None:
    words = ["--baseline", urls["main"], "--candidate", urls["same"], *SMALL, "--min-effect", "0.3"]
    code, out, err = compare(gatebench, *words)
    assert code == 0, out + err
    # On a machine this busy two equal targets may be too noisy to tell; that is no alarm.
    assert "Unchanged: candidate is like baseline" in " ".join(out.split()) or "Inconclusive: too noisy" in out


def test_a_slower_candidate_is_measured_twice_and_exits_with_10(
    gatebench: Commands, urls: dict[str, str], place: Path
) -> None:
    words = ["--baseline", urls["main"], "--candidate", urls["slower"], *SMALL, "--min-effect", "0.3", "--json", "-"]
    code, out, err = compare(gatebench, *words)
    assert code == 10, err
    found = json.loads(out)
    assert (found["schema"], found["verdict"], found["baseline"]) == ("gatebench.compare/1", "regressed", "baseline")
    p50 = next(c for c in found["comparisons"] if (c["metric"], c["level"]) == ("latency_p50", 2))
    assert (p50["verdict"], p50["blocks"]) == ("regressed", 4)
    assert 30 < p50["by"] < 120 and p50["again"] > 0.3
    book = Book(place / "home" / "gatebench.duckdb")
    assert {leg.attempt for leg in book.legs(found["run_id"])} == {"first", "confirm"}
    assert len(book.comparisons(found["run_id"])) == len(found["comparisons"])
    assert "Side by side" in Path(found["report"]).read_text(encoding="utf-8")


def test_what_a_gateway_adds_is_told_and_not_judged(gatebench: Commands, urls: dict[str, str]) -> None:
    words = ["--candidate", urls["slower"], "--direct", urls["main"], *SMALL, "--json", "-"]
    code, out, err = compare(gatebench, *words)
    assert code == 0, err
    found = json.loads(out)
    assert found["verdict"] is None
    assert "candidate adds to direct at 2 concurrent: p50 latency +" in found["headline"]
    p50 = next(c for c in found["comparisons"] if (c["metric"], c["level"]) == ("latency_p50", 2))
    assert (p50["kind"], p50["verdict"]) == ("overhead", "")
    assert p50["by_lower"] < 60 < p50["by_upper"] or p50["by"] == pytest.approx(60, rel=0.3)


def test_two_blocks_are_inconclusive_and_strict_makes_that_17(
    gatebench: Commands, urls: dict[str, str], tmp_path: Path
) -> None:
    plan = tmp_path / "two.toml"
    targets = "".join(
        f'[[targets]]\nname = "{name}"\nurl = "{urls[name]}"\nmodel = "m"\n' for name in ("main", "same", "slower")
    )
    plan.write_text(f'name = "two"\n{targets}[control]\nenabled = false\n', encoding="utf-8")
    words = ["--plan", str(plan), "main", "slower", "--requests", "40", "--concurrency", "2", "--blocks", "2"]
    code, out, err = compare(gatebench, *words, "--no-stream", "--strict", *SURE)
    assert code == 17, out + err
    assert "Inconclusive: 2 blocks; 3 are needed." in out
    assert "same" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "compare what? give --baseline URL and --candidate URL"),
        (["--baseline", "http://127.0.0.1:1/v1"], "compare what?"),
        (["main", "candidate"], "are targets of a plan: give --plan FILE"),
        (["--plan", "nightly", "--baseline", "http://127.0.0.1:1/v1"], "--plan has the targets"),
        (["--plan", "nightly"], "a comparison needs two targets or more"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEBENCH_HOME", str(tmp_path))
    assert run(["compare", *words]) == 2
    assert said in capsys.readouterr().err
