"""The book made again from the files beside it, and copied while others use it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.backup import backup
from storage.connection import Connection
from storage.errors import StorageError, UsageError
from storage.files import RunFiles
from storage.journal import Journal
from storage.rebuild import Rebuilt, rebuild
from storage.records import Calibration, Change, Incident, LogFile, Symptom
from storage.store import Book

RUN = "20261101T020000Z-nightly-0001"
SEGMENT = {"target": "gw", "series": "sweep", "workload_id": "w1", "plan_digest": "p1", "fingerprint": "f1"}
WRITE = """
import sys
from pathlib import Path
from storage.store import Book
book = Book(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(int(sys.argv[2])):
    book.record_alert("r", "k", channels=i, title="", body="", sent_at="", error=None)
"""


@pytest.fixture
def house(book: Book, make_run, make_leg, make_cell, make_verdict) -> Book:
    """A book in which a night was measured, judged and remembered, with its files beside it."""
    files = RunFiles(book.path.parent / "runs", RUN)
    run = make_run(path=str(files.folder))
    files.write_run(run)
    files.leg_folder(make_leg().leg_id)
    files.write_leg(make_leg())
    book.start_run(run)
    book.add_legs(RUN, [make_leg(validity="suspect", reasons=["found later"])])
    book.add_cells(RUN, [make_cell(), make_cell("errors", 0.0)])
    book.add_calibration(RUN, Calibration(True, 0.1, 0.2, 5000.0))
    book.add_verdicts(RUN, [make_verdict()])
    segment = book.segment(RUN, **SEGMENT)
    book.enter_baseline(segment.segment_id, RUN, "gatebench", "a quiet night")
    book.watch.keep(segment.segment_id, RUN, lambda known, first: opened(segment.segment_id, str(first)))
    book.watch.acknowledge("1", "ann", "known")
    book.save_workload("nightly", "w1", path="/w.parquet", header={"a": 1}, pinned=True, who="ann", why="first")
    book.remember_logs("nightly", [LogFile("/logs/a", 1, 2, "ff")])
    book.finish_run(RUN, status="completed", ended_at="2026-11-01T02:30:00+00:00", verdict="unchanged", exit_code=0)
    book.record_alert(RUN, "night", channels=1, title="t", body="b", sent_at="x", error=None)
    book.reject(RUN, "ben", "the machine was busy")
    return book


def opened(segment_id: str, name: str) -> tuple[list[Incident], list[Change]]:
    symptom = Symptom("latency_p95", None, 0.4, 0.4)
    incident = Incident(
        name, segment_id, "gw", "sweep", "latency", "open", RUN, "x", "x", "3 nights", [symptom], 0, RUN, RUN
    )
    return [incident], [Change(name, segment_id, RUN, "opened", "slower", "gatebench", "", "x", told=True)]


def everything(book: Book) -> dict[str, list[Any]]:
    def read(con) -> dict[str, list[Any]]:
        names = [name for (name,) in con.execute("select table_name from duckdb_tables() order by 1").fetchall()]
        return {name: con.table(name).order("all").fetchall() for name in names if name != "schema_migrations"}

    return book.ask(read)


def again(book: Book) -> Rebuilt:
    home = book.path.parent
    return rebuild(book.path, home / "runs", Journal(home / "journal.jsonl"), "OLD")


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"no database", lambda raw: None])
def test_a_damaged_or_lost_book_is_made_again_as_it_was(house: Book, damage: Callable[[bytes], bytes | None]):
    before, left = everything(house), damage(house.path.read_bytes())
    if left is None:
        house.path.unlink()
    else:
        house.path.write_bytes(left)
        with pytest.raises(StorageError, match="`gatebench rebuild` moves it aside"):
            house.runs()
    found = again(house)
    assert everything(house) == before
    assert len([name for name, rows in before.items() if rows]) >= 13
    assert (found.runs, found.legs, found.bare, found.lost) == (1, 1, [], [])
    kept = house.path.with_name("gatebench.duckdb.OLD.old")
    assert (found.aside, kept.exists()) == ((None, False) if left is None else (str(kept), True))
    assert left is None or kept.read_bytes() == left


def test_a_run_without_results_has_its_legs_and_is_named(house: Book, make_run):
    other = "20261102T020000Z-nightly-0002"
    files = RunFiles(house.path.parent / "runs", other)
    files.write_run(replace(make_run(other), status="running"))
    found = again(house)
    assert (found.runs, found.bare) == (2, [other])
    assert (house.run(other).status, house.run(other).path) == ("interrupted", str(files.folder))
    (house.path.parent / "runs" / RUN / "results.json").unlink()
    found = again(house)
    assert (found.runs, found.legs, found.bare) == (2, 1, [RUN, other])
    assert str(found.aside).endswith(".OLD.2.old")  # the first one is kept as well
    assert house.legs(RUN)[0].validity == "valid"  # as the leg itself was closed


def test_what_cannot_be_read_is_named_and_stops_nothing_else(house: Book, make_run):
    runs = house.path.parent / "runs"
    journal = house.path.parent / "journal.jsonl"
    (runs / "20261103T020000Z-nightly-0003").mkdir()
    (runs / RUN / "results.json").write_text('{"schema": "gatebench.results/1", "tables"')
    lines = journal.read_text().splitlines()
    misfit = json.dumps({"table": "baselines", "row": {"segment_id": "s", "action": "no such action"}})
    journal.write_text("\n".join([lines[0], "junk", misfit, *lines[1:], '{"table": "incid']))
    found = again(house)
    assert [house.watch.incident("1").status, house.baseline_entries(house.segments()[0].segment_id)[-1].who] == [
        "acknowledged",
        "ben",
    ]
    said = "\n".join(found.lost)
    assert (found.runs, len(found.lost)) == (1, 5), said
    assert f"the results of run {RUN} are worked out again" in said
    assert "run 20261103T020000Z-nightly-0003 is left out" in said
    assert f"{journal}, line 2 cannot be read and is left out" in said
    assert "a row of baselines is left out" in said


def test_a_journal_goes_on_after_a_line_that_was_cut_off(house: Book):
    journal = house.path.parent / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"table": "al')
    house.record_alert(RUN, "night", channels=2, title="t", body="b", sent_at="y", error=None)
    read = list(Journal(journal).read())
    assert [line for line in read if isinstance(line, int)] == [len(read) - 1]
    assert isinstance(read[-1], tuple)
    assert read[-1][1]["channels"] == 2


def test_a_book_from_before_journals_is_written_down_whole_with_the_next_thing_that_is_said(house: Book):
    before = everything(house)
    (house.path.parent / "journal.jsonl").unlink()
    (house.path.parent / "runs" / RUN / "results.json").unlink()
    house.record_alert(RUN, "night", channels=3, title="t", body="b", sent_at="z", error=None)
    assert (house.path.parent / "runs" / RUN / "results.json").is_file()
    house.path.unlink()
    assert again(house).lost == []
    after = everything(house)
    assert len(after.pop("alerts")) == len(before.pop("alerts")) + 1
    assert after == before


def test_a_step_that_was_rolled_back_is_not_in_the_journal(house: Book):
    journal = house.path.parent / "journal.jsonl"
    before = journal.read_bytes()

    def half(con) -> None:
        con.execute("insert into run_segments values ('r', 's')")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        house._note(half, "run_segments")
    assert journal.read_bytes() == before


def test_a_newer_gatebench_s_columns_and_tables_are_left_out(house: Book):
    file = house.path.parent / "runs" / RUN / "results.json"
    raw = json.loads(file.read_text())
    raw["tables"]["verdicts"]["columns"].append("mood")
    raw["tables"]["verdicts"]["rows"][0].append("fine")
    raw["tables"]["dreams"] = {"columns": ["run_id"], "rows": [[RUN]]}
    file.write_text(json.dumps(raw))
    before = everything(house)
    assert again(house).lost == []
    assert everything(house) == before


def test_a_backup_while_another_process_writes_is_whole_and_can_be_put_back(house: Book, tmp_path: Path):
    out = tmp_path / "backups" / "book.duckdb"
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(house.path), "15"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    size = backup(Connection(house.path), out)
    assert (out.stat().st_size, out.stat().st_mode & 0o777) == (size, 0o600)
    copied = Book(out)
    written = [alert.channels for alert in copied.alerts("r")]
    assert written == list(range(len(written)))  # as it was at one instant
    assert copied.runs() == house.runs()
    assert writer.wait() == 0
    assert len(house.alerts("r")) == 15
    held = everything(copied)
    house.path.unlink()
    out.rename(house.path)
    assert everything(house) == held
    house.record_alert("r", "k", channels=99, title="", body="", sent_at="", error=None)
    assert house.alerts("r")[-1].channels == 99


def test_a_backup_overwrites_only_when_told_and_never_the_book(house: Book, tmp_path: Path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="is there already; --force overwrites it"):
        backup(Connection(house.path), tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    assert backup(Connection(house.path), tmp_path / "there", force=True) > 10_000
    with pytest.raises(UsageError, match="never the book itself"):
        backup(Connection(house.path), house.path, force=True)
    with pytest.raises(UsageError, match="there is no book at"):
        backup(Connection(tmp_path / "none.duckdb"), tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["there"]
