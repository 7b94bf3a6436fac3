"""A baseline taken to another machine: what is judged against it there, and what is refused."""

import getpass
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.plan import load_plan
from config.settings import Settings
from flows.cli import run
from flows.specs import plan_digest
from storage.journal import Journal
from storage.machine import environment, fingerprint
from storage.rebuild import rebuild
from storage.store import Book
from tasks.characterise import resolve
from tasks.load.leg import ENGINE_VERSION
from tasks.workload import trace
from tests.fakes.house import House

PAGE = (Path(__file__).parents[2] / "docs" / "ci-gate.md").read_text(encoding="utf-8")
LINES = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("gatebench baseline ")]
PLAN = """
name = "mine"
[[targets]]
name = "gw"
url = "http://127.0.0.1:1/v1"
model = "m"
headers = { "x-tenant" = "canary-tenant" }
"""
TAIL = {"latency_p50": 1.2, "latency_p95": 1.2, "latency_p99": 1.2}
NIGHTS = 5


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A command tells flows and workers where the data lies by the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


class Place:
    """A data root with a plan and a book in which nights of the plan are measured."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        home.mkdir()
        self.plan = home / "my-gateway.toml"
        self.plan.write_text(PLAN, encoding="utf-8")
        self.settings = Settings(home=home)
        plan = load_plan(str(self.plan)).here(self.settings.timeouts)
        self.house = House(home, seed)
        self.workload = trace.read(resolve("", self.house.book, self.settings.workloads_path)).id
        self.facts = {
            "workload_id": self.workload,
            "plan_digest": plan_digest(plan, plan.targets[0], "sweep"),
            "fingerprint": fingerprint(environment(home=home, packages=(), engine_version=ENGINE_VERSION)),
        }

    @property
    def book(self) -> Book:
        return self.house.book

    def members(self) -> list[list[str]]:
        """Of each segment, oldest first."""
        return [self.book.baseline_runs(segment.segment_id) for segment in self.book.segments()]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Another machine, with some quiet nights."""
    place = Place(tmp_path_factory.mktemp("other") / "there", 1)
    for _ in range(NIGHTS):
        place.house.night(facts={**place.facts, "fingerprint": "elsewhere"})
    yield place
    place.house.held.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "here", 2)
    yield place
    place.house.held.close()


@pytest.fixture
def bundle(there: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert run([*LINES[0][1:], "--home", str(there.home)]) == 0
    return tmp_path / "baseline.json"


def take(place: Place, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The page's own command, in a folder with the plan and the bundle."""
    (place.home / "baseline.json").write_bytes(bundle.read_bytes())
    monkeypatch.chdir(place.home)
    return run([*LINES[1][1:], "--home", str(place.home)])


def test_nights_after_an_import_are_judged_against_it(
    bundle: Path, there: Place, here: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take(here, bundle, monkeypatch) == 0
    said = capsys.readouterr().out
    assert f"gw sweep: {NIGHTS} nights in {here.book.segments()[0].segment_id}" in said
    assert "they were measured on another kind of machine" in said
    assert here.members() == [there.house.nights]
    here.house.nights += there.house.nights  # the next night is the one after
    assert here.house.night(facts=here.facts) == "unchanged"
    assert here.house.night(TAIL, facts=here.facts) == "regressed"
    (incident,) = here.book.watch.incidents()
    assert incident.against.startswith(f"{NIGHTS + 1} nights, {there.house.nights[0]} to ")


def test_the_book_says_who_took_which_nights_in_and_why(
    bundle: Path, there: Place, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(here, bundle, monkeypatch)
    (segment,) = here.book.segments()
    assert segment.why == "the benchmark has moved house"
    entries = here.book.baseline_entries(segment.segment_id)
    assert [entry.run_id for entry in entries] == there.house.nights
    assert {(e.action, e.who, e.why) for e in entries} == {("accepted", getpass.getuser(), segment.why)}
    night = here.book.run(there.house.nights[0])
    assert (night.reason, night.plan_name) == ("imported", "mine")
    assert run(["show", night.run_id, "--home", str(here.home), "--quiet"]) == 0


def test_taking_it_in_twice_is_taking_it_in_once(bundle: Path, here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    take(here, bundle, monkeypatch)
    before = here.members()
    here.house.nights += before[0]
    here.house.night(facts=here.facts)
    assert take(here, bundle, monkeypatch) == 0
    assert [len(members) for members in here.members()] == [NIGHTS + 1]


def test_where_there_are_nights_already_it_opens_the_next_generation(
    bundle: Path, there: Place, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.house.nights += [""] * 20  # other nights than those of the bundle
    here.house.night(facts=here.facts)
    assert take(here, bundle, monkeypatch) == 0
    assert [segment.generation for segment in here.book.segments()] == [1, 2]
    assert here.members() == [here.house.nights[20:], there.house.nights]
    assert here.book.segments()[1].carried_from == here.book.segments()[0].segment_id


def test_another_workload_is_refused_in_one_sentence_and_nothing_is_changed(
    bundle: Path, here: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = json.loads(bundle.read_text())
    raw["parts"][0]["workload_id"] = "f" * 64
    bundle.write_text(json.dumps(raw))
    capsys.readouterr()
    assert take(here, bundle, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"with workload {'f' * 16}, plan 'mine' measures with {here.workload[:16]}; pin the same one here" in err
    assert (here.book.runs(), here.book.segments()) == ([], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--set", "sweep.requests=2000"], "does not measure gw's sweep as the bundle's nights were measured"),
        (["--plan", "nightly"], "plan 'nightly' has"),
    ],
)
def test_another_plan_is_refused(
    change: list[str], said: str, bundle: Path, here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--plan", str(here.plan), "--home", str(here.home), *change]
    assert run(["baseline", "import", str(bundle), *words]) == 2
    assert said in capsys.readouterr().err
    assert here.book.segments() == []


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{", 16, "is a damaged baseline bundle"),
        ('{"schema": "gatebench.baseline-bundle/1", "parts": [], "nights": []}', 16, "is a damaged baseline bundle"),
        ('{"schema": "gatebench.run/1"}', 2, "its schema is 'gatebench.run/1'"),
    ],
)
def test_what_is_no_bundle_is_told_apart_from_what_is_damaged(
    text: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.json").write_text(text)
    assert run(["baseline", "import", str(tmp_path / "b.json"), "--home", str(tmp_path / "home")]) == code
    assert said in capsys.readouterr().err


def test_a_bundle_holds_numbers_and_nothing_that_is_secret(bundle: Path) -> None:
    text = bundle.read_text()
    assert not re.search(r"https?://|canary|api_key|headers|url", text)
    raw = json.loads(text)
    assert {cell["target"] for night in raw["nights"] for cell in night["cells"]} == {"gw", "control"}


def test_nothing_to_export_is_said(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["baseline", "export", "--home", str(here.home)]) == 2
    assert "no baseline of that kind holds any nights yet" in capsys.readouterr().err


def test_a_book_that_is_made_again_has_the_imported_nights(
    bundle: Path, there: Place, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(here, bundle, monkeypatch)
    before = here.members()
    here.house.held.close()
    path = here.settings.book_path
    rebuild(path, here.settings.runs_path, Journal(path.with_name("journal.jsonl")), "now")
    again = Book(path)
    assert [again.baseline_runs(segment.segment_id) for segment in again.segments()] == before
    assert len(again.cells(there.house.nights[0])) == 14
