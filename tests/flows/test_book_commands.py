"""`gatebench rebuild`, `backup` and `prune` on a night that was really measured."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.records import Verdict
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import Commands, bare, commands
from tests.fakes.history import quiet_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]
PLAN = """
name = "small"
[[targets]]
name = "gw"
url = "{url}"
model = "m"
[sweep]
levels = [1, 2]
requests = 40
blocks = 5
[replay]
enabled = false
[control]
service_ms = 1
"""


@dataclass
class House:
    run: Commands
    home: Path

    @property
    def book(self) -> Book:
        return Book(self.home / "gatebench.duckdb")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A night in a home of its own, which no test changes."""
    folder = tmp_path_factory.mktemp("measured")
    with (
        quiet_server(folder / "server", tmp_path_factory) as ours,
        SimulatorProcess(SimConfig(slots=0, service_ms=2)) as simulator,
        commands({**bare(), **ours, "GATEBENCH_HOME": str(folder / "home")}, folder) as run,
    ):
        (folder / "plan.toml").write_text(PLAN.format(url=simulator.url))
        done = run("nightly", "--plan", folder / "plan.toml", "--quiet")
        assert done.code in (0, 12), done.err  # 12: the machine was busy
        yield House(run, folder / "home")


@pytest.fixture
def house(measured: House, tmp_path: Path) -> House:
    """A copy of it."""
    shutil.copytree(measured.home, tmp_path / "home")
    home = tmp_path / "home"
    return House(lambda *args, **settings: measured.run(*args, **{**settings, "GATEBENCH_HOME": str(home)}), home)  # type: ignore[arg-type]


def shown(house: House) -> dict[str, object]:
    done = house.run("show", "last", "--json", "-")
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


def test_a_damaged_book_is_made_again_and_shows_what_it_showed(house: House):
    before, entries = shown(house), house.book.baseline_entries(house.book.segments()[0].segment_id)
    house.book.path.write_bytes(house.book.path.read_bytes()[:9000])
    refused = house.run("show", "last")
    assert (refused.code, "`gatebench rebuild` moves it aside" in refused.sentence) == (16, True)
    done = house.run("rebuild")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first.startswith(f"made {house.book.path} again: 1 run, ")
    assert second.startswith(f"the old book is {house.book.path}.")
    assert shown(house) == before
    assert house.book.baseline_entries(house.book.segments()[0].segment_id) == entries


def test_a_book_without_its_journal_and_results_is_worked_out_from_samples(house: House):
    (run,) = house.book.runs()
    before = house.book.cells(run.run_id), [_plain(v) for v in house.book.verdicts(run.run_id)]
    baseline = house.book.baseline_runs(house.book.segments()[0].segment_id)
    legs = len(house.book.legs(run.run_id))
    for name in ("journal.jsonl", f"runs/{run.run_id}/results.json", "gatebench.duckdb"):
        (house.home / name).unlink()
    done = house.run("rebuild", "--json", "-")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["runs"], told["worked_out"], told["old_book"]) == (1, [run.run_id], None)
    assert told["lost"] == [
        "there is no journal.jsonl: what was acknowledged, accepted, rejected or pinned by name is lost"
    ]
    assert (house.book.cells(run.run_id), [_plain(v) for v in house.book.verdicts(run.run_id)]) == before
    assert len(house.book.legs(run.run_id)) == legs
    assert house.book.baseline_runs(house.book.segments()[0].segment_id) == baseline
    again = house.run("rebuild", "--json", "-")
    assert json.loads(again.out)["worked_out"] == []


def _plain(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.target, verdict.series, verdict.metric, verdict.level, verdict.verdict, verdict.effect)


def test_a_copy_is_made_of_the_book_and_put_back(house: House, tmp_path: Path):
    before = shown(house)
    out = tmp_path / "copy.duckdb"
    done = house.run("backup", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"copied {house.book.path} to {out} (")
    assert (
        house.run("backup", out).sentence == f"{out} is there already; --force overwrites it, but never the book itself"
    )
    shutil.copy(out, house.book.path)
    assert shown(house) == before


def test_old_samples_go_and_the_page_stays(house: House):
    (run,) = house.book.runs()
    page = house.home / "runs" / run.run_id / "report.html"
    whole = page.read_bytes()
    asked = house.run("prune")
    assert (asked.code, asked.sentence.startswith("older than what? give --days 90")) == (2, True)
    kept = house.run("prune", "--days", "1")
    assert (kept.code, kept.out) == (0, "deleted the samples of 0 runs, 0.0 MB\n")
    newer = run.run_id.replace(run.run_id[:8], "20991231")
    house.book.ask(
        lambda con: (
            con.execute("update runs set started = '2020-01-01', started_at = '2020-01-01T00:00:00+00:00'")
            and con.execute("delete from baselines")
            and con.execute(
                "insert into runs select * replace ($id as run_id, '2099-12-31'::timestamp as started) from runs",
                {"id": newer},
            )
        )
    )
    dry = house.run("prune", GATEBENCH_KEEP_SAMPLES_DAYS="7")
    assert dry.out.startswith("deleted the samples of 1 run, ")
    assert list(house.home.glob("runs/*/*/part-*.parquet")) == []
    assert house.run("report", run.run_id).code == 0
    assert page.read_bytes() == whole
    assert shown(house)["run_id"] == newer
    assert house.run("show", run.run_id).code == 0
