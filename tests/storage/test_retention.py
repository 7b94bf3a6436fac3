"""Old samples are deleted; the book, and samples that somebody may still need, never are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.connection import open_file
from storage.files import RunFiles
from storage.retention import Forgotten, are_forgotten, forget_samples
from storage.store import Book

SEGMENT = {"target": "gw", "series": "sweep", "workload_id": "w1", "plan_digest": "p1", "fingerprint": "f1"}
SAID = "The samples of this run were deleted on 2026-11-24: they were older than 7 days."


@pytest.fixture
def nights(book: Book, make_run, make_leg) -> Iterator[list[str]]:
    """Five nights with samples: the first two in the baseline, the third with an open incident, a plain one, and the
    newest."""
    book.runs()
    held = open_file(book.path)  # DuckDB shares an open file: twenty times as quick
    names = [f"2026110{day}T020000Z-nightly-000{day}" for day in range(1, 6)]
    for name in names:
        files = RunFiles(book.path.parent / "runs", name)
        run = make_run(name, path=str(files.folder), status="completed")
        files.write_run(run)
        leg = make_leg(run_id=name)
        (files.leg_folder(leg.leg_id) / "part-00000.parquet").write_bytes(b"x" * 1000)
        files.write_leg(leg)
        book.start_run(run)
        book.add_legs(name, [leg])
        segment = book.segment(name, **SEGMENT)
        if name in names[:2]:
            book.enter_baseline(segment.segment_id, name, "gatebench", "quiet")
    book.ask(
        lambda con: con.execute(
            "insert into incidents values ('1', $s, 'latency', 'open', $r, 'x', 'x', 'x', '[]', 0, $r, $r, null)",
            {"s": segment.segment_id, "r": names[2]},
        )
    )
    yield names
    held.close()


def parts(book: Book) -> list[str]:
    return sorted(path.parts[-3] for path in book.path.parent.glob("runs/*/*/part-*.parquet"))


def forget(book: Book, before: str, **options: int | bool) -> Forgotten:
    return forget_samples(book, before, SAID, **options)  # type: ignore[arg-type]


def test_only_old_samples_that_nobody_needs_are_deleted_and_it_is_told_what_that_freed(book, nights):
    found = forget(book, "2026-11-06T00:00:00+00:00")
    assert found.runs == {nights[3]: 1000}
    assert found.freed == 1000
    assert found.kept == {
        nights[0]: "is a night that others are compared with",
        nights[1]: "is a night that others are compared with",
        nights[2]: "is part of an open incident",
        nights[4]: "is the newest of its kind",
    }
    assert parts(book) == [*nights[:3], nights[4]]
    folder = book.path.parent / "runs" / nights[3]
    assert are_forgotten(folder)
    assert not are_forgotten(folder.with_name(nights[0]))
    assert (folder / "samples-deleted.txt").read_text() == SAID + "\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        "first-b0-gw-10",
        "results.json",
        "run.json",
        "samples-deleted.txt",
    ]
    assert [leg.leg_id for leg in book.legs(nights[3])] == ["first-b0-gw-10"]
    assert len(book.runs()) == 5


def test_nights_in_a_baseline_beyond_those_that_are_compared_with_may_go(book, nights):
    found = forget(book, "2026-11-06T00:00:00+00:00", anchor=1)
    assert list(found.runs) == [nights[1], nights[3]]


def test_what_is_younger_stays_and_a_dry_run_deletes_nothing(book, nights):
    assert forget(book, "2026-11-04T00:00:00+00:00").runs == {}
    assert forget(book, "2026-11-06T00:00:00+00:00", dry_run=True).runs == {nights[3]: 1000}
    assert parts(book) == nights


def test_deleting_again_finds_nothing_more(book, nights):
    forget(book, "2026-11-06T00:00:00+00:00")
    again = forget(book, "2026-11-06T00:00:00+00:00")
    assert (again.runs, len(again.kept)) == ({}, 4)


def test_a_run_that_is_still_running_keeps_its_samples(book, nights):
    book.update_run(nights[3], status="running")
    found = forget(book, "2026-11-06T00:00:00+00:00")
    assert (found.runs, found.kept[nights[3]]) == ({}, "is running")


def test_a_run_whose_files_are_gone_is_no_trouble(book, nights, tmp_path: Path):
    (book.path.parent / "runs").rename(tmp_path / "elsewhere")
    assert forget(book, "2026-11-06T00:00:00+00:00") == Forgotten()
