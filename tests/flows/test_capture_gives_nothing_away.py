"""The commands on logs with secrets in every field: nothing of them on the screen, in the files that are written, in
the page of a profile, in a run with what was captured, in Prefect's history or anywhere else under the home."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.disk import make_folder
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tasks.workload.capture import capture
from tests.fakes.command import Commands, Done, bare, commands
from tests.fakes.history import quiet_server
from tests.fakes.logs import SAMPLES, Sample
from tests.fakes.written import given_away, left_behind
from tests.workload.test_secrets_nowhere import NO_SHAPE, PLANTS

pytestmark = pytest.mark.timeout(240)
TRACES = ("mooncake", "aiperf", "burstgpt")  # their times have no date, so they are captured apart
TELLING = [telling for _, telling in PLANTS.values()]
SHAPED = [kind for kind in PLANTS if kind not in NO_SHAPE]


def is_model(where: tuple[str | int, ...]) -> bool:
    """The model, under any of its names: it is kept as text, so that a key in its place refuses the whole capture."""
    return "model" in str(where[-1]).lower() or where[-1] in ("Model", "litellm.model_group")


def rows(sample: Sample) -> list[dict]:
    """Every plant in some place, and every place with two plants."""
    plants = [plant for plant, _ in PLANTS.values()]
    places = [where for where in sample.leaves() if not is_model(where)]
    times = max(2, -(-len(plants) // len(places)))
    planted = [sample.planted(where, plants[n % len(plants)]) for n, where in enumerate(places * times)]
    return [sample.record, *planted, sample.record, sample.record]


@dataclass
class House:
    """A home, a Prefect server of its own, and everything that commands have said so far."""

    folder: Path
    run: Commands
    said: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, *args: str | Path) -> Done:
        done = self.run(*args)
        self.said[f"{len(self.said)}: {' '.join(map(str, args))[:80]}"] = (done.out + done.err).encode()
        return done

    def left(self) -> dict[str, bytes]:
        """All that was said and written, the logs themselves left out."""
        return self.said | left_behind(self.folder, but=[self.folder / "logs"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    for name in ("logs", "out"):
        make_folder(folder / name)
    with quiet_server(folder / "server", tmp_path_factory) as ours:
        home = {"GATEBENCH_HOME": str(folder / "home"), "GATEBENCH_SALT": "a salt of sixteen bytes"}
        with commands({**ours, **bare(), **home}, folder) as run:
            yield House(folder, run)


@pytest.fixture(scope="module")
def mixed(house: House) -> Path:
    """A workload of a folder with a log of every format that has dates, and a file that is none."""
    logs = make_folder(house.folder / "logs" / "mixed")
    for name, sample in SAMPLES.items():
        if sample.format not in TRACES:
            (logs / f"{name}.log").write_bytes(sample.render(rows(sample)))
    (logs / "other.txt").write_text("\n".join(plant for plant, _ in PLANTS.values()))
    out = house.folder / "out" / "mixed.parquet"
    done = house("capture", logs, "--out", out, "--privacy", "structure", "--json", "-")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["kept"] > 100
    assert told["rejects"] is not None
    assert [note for note in told["notes"] if "other.txt" in note]
    return out


def test_a_folder_of_mixed_logs_gives_nothing_away(house, mixed):
    left = house.left()
    assert {Path(name).suffix for name in left} >= {".parquet", ".jsonl", ".db"}
    assert given_away(left, TELLING) == []


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_without_dates_gives_nothing_away(house, name):
    sample = SAMPLES[name]
    log = house.folder / "logs" / f"{name}.log"
    log.write_bytes(sample.render(rows(sample)))
    done = house("capture", log, "--out", house.folder / "out" / f"{name}.parquet", "--privacy", "structure")
    assert done.code == 0, done.err
    assert "rows read = " in done.err
    assert given_away(house.left(), TELLING) == []


def test_a_secret_in_the_place_of_a_model_is_renamed_or_refuses_the_capture_and_is_not_shown(house, tmp_path):
    places = places_of_models(tmp_path / "log")
    assert len(places) >= 10
    for n, kind in enumerate(SHAPED):
        sample, where = places[n % len(places)]
        log, out = house.folder / "logs" / f"{n}.log", house.folder / "out" / f"{n}.parquet"
        log.write_bytes(sample.render([sample.planted(where, PLANTS[kind][0]), sample.record]))
        done = house("capture", log, "--out", out, "--format", sample.format)
        refused = (done.code, out.exists()) == (2, False) and "looks like" in done.sentence
        renamed = (done.code, out.exists()) == (0, True) and "they are kept as model-1" in done.err
        assert refused or renamed, f"{kind} as {where} of {sample.format}: {done.err}"
    assert given_away(house.left(), TELLING) == []


def places_of_models(log: Path) -> list[tuple[Sample, tuple[str | int, ...]]]:
    """Where each format has the model that is kept."""
    found = []
    for sample in SAMPLES.values():
        for where in filter(is_model, sample.leaves()):
            log.write_bytes(sample.render([sample.planted(where, "marked")]))
            captured = capture([log], format=sample.format)
            if "marked" in captured.workload.frame["model"].to_list():
                found.append((sample, where))
    return found


def test_the_page_and_the_words_of_a_profile_give_nothing_away(house, mixed):
    page = house.folder / "out" / "profile.html"
    done = house("profile", mixed, "--html", page)
    assert done.code == 0, done.err
    assert "<svg" in page.read_text() or "vega" in page.read_text()
    assert given_away(house.left(), TELLING) == []


def test_a_run_with_what_was_captured_gives_nothing_away(house, mixed):
    with SimulatorProcess(SimConfig(slots=0, service_ms=1)) as simulator:
        words = ["--url", simulator.url, "--max-idle-gap", "20ms"]
        done = house("replay", mixed, *words, "--json", house.folder / "out" / "replay.json")
    assert done.code in (0, 12), done.err  # 12: the machine was busy
    left = house.left()
    assert [name for name in left if name.endswith("report.html")]
    assert [name for name in left if "part-" in name]
    assert given_away(left, TELLING) == []
