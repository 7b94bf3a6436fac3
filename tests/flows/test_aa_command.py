"""`gatebench aa` on stored nights, and what it refuses; what it measures is a sweep, see test_main_job.py."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import run
from storage.errors import UsageError
from tasks.study import study_history
from tests.fakes.house import House

FEW = 10


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Six quiet nights and a study of them, which sees how they were drawn: a luck of .8 % a number."""
    house = House(tmp_path_factory.mktemp("home"))
    for _ in range(6):
        house.night()
    study_history("gw", house.settings, FEW)
    yield house
    house.held.close()


@pytest.fixture
def aa(house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "Said":
    monkeypatch.setenv("GATEBENCH_HOME", str(house.settings.home_path))
    monkeypatch.setenv("COLUMNS", "80")
    return Said(capsys)


class Said:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = run(["aa", *words])
        out = self.capsys.readouterr()
        return code, out.out, out.err


def test_stored_nights_are_a_study_that_is_kept_and_shown(aa: Said, house: House, tmp_path: Path) -> None:
    code, out, _ = aa("--show", "last", "--json", str(tmp_path / "aa.json"))
    assert code == 0
    assert out.startswith("gw, 6 stored nights of 5 blocks")
    found = json.loads((tmp_path / "aa.json").read_text(encoding="utf-8"))
    assert (found["source"], found["runs"]) == ("history", house.nights)
    p50 = next(part for part in found["parts"] if (part["metric"], part["level"]) == ("latency_p50", 10))
    assert p50["night"]["lower"] <= 0.008 <= p50["night"]["upper"]
    assert (p50["process"], p50["request"]) == (None, None)
    assert [one["nights"] for one in found["outlook"]] == [5, 10, 20, 30]
    assert aa("--show", f"aa-{house.nights[-1]}")[0] == 0


@pytest.mark.parametrize("name", ["w1/gw", "w/gw", "gw"], ids=["its id", "the beginning of it", "the target alone"])
def test_nights_are_named_by_workload_and_target(house: House, name: str) -> None:
    assert study_history(name, house.settings, 1).target == "gw"


def test_nights_that_are_not_there_are_refused_by_those_that_are(house: House) -> None:
    with pytest.raises(UsageError, match="no nights of 'w1/other'; there are w1/gw"):
        study_history("w1/other", house.settings, FEW)


def test_too_few_nights_are_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    for _ in range(4):
        house.night()
    with pytest.raises(UsageError, match="4 of the 5 nights needed"):
        study_history("gw", house.settings, FEW)
    house.held.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which target? give --url"),
        (("--url", "http://127.0.0.1:1/v1", "--runs", "2"), "2 do not tell how runs differ; at least 3"),
        (("--url", "http://127.0.0.1:1/v1", "--processes", "0"), "processes: 0; at least 1"),
        (("--url", "http://127.0.0.1:1/v1", "--blocks", "1"), "1 does not tell how blocks differ; at least 2"),
        (("--url", "http://127.0.0.1:1/v1", "--simulated", "0"), "simulated: 0 nights; at least 1"),
        (("--show", "nothing"), "no A/A study 'nothing'; there are aa-2026"),
    ],
)
def test_what_cannot_be_studied_is_refused_in_one_sentence(aa: Said, words: tuple[str, ...], said: str) -> None:
    code, out, err = aa(*words)
    assert (code, out) == (2, "")
    assert said in err and len(err.splitlines()) == 1


def test_a_setup_too_noisy_to_judge_is_17_under_strict_alone(aa: Said, house: House) -> None:
    noise = house.book.watch.noise("last")
    too = {name: getattr(noise, name) for name in type(noise).__slots__} | {"noise_id": "noisy", "warnings": ["why"]}
    house.book.watch.add_noise(type(noise)(**too))
    assert aa("--show", "noisy", "--quiet")[0] == 0
    code, out, _ = aa("--show", "noisy", "--strict")
    assert code == 17
    assert "Too noisy to judge: why." in out
