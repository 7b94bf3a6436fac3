"""A/A studies in the book: kept whole, found by name, and there again in a book that was made anew."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import UsageError
from storage.journal import Journal
from storage.rebuild import rebuild
from storage.records import Noise, NoisePart, Outlook, Spread
from storage.store import Book

SD = Spread(0.02, 0.01, 0.05)
PARTS = [NoisePart("latency_p95", 10, SD, SD, SD, Spread(0.03, None, None), SD),
         NoisePart("latency_p95", None, SD, None, SD, None, SD)]  # fmt: skip
STUDY = Noise("aa-r2", "2026-11-24T02:00:00+00:00", "measured", "gw", "w1", "f1", ["r1", "r2"], 2, 1, 5, 1, PARTS,
              PARTS[1], [Outlook(30, 0.005, 0.002, 0.06, None)], [], "more requests help")  # fmt: skip


def test_a_study_comes_back_as_it_went_in_and_is_replaced_under_its_id(book: Book) -> None:
    book.watch.add_noise(STUDY)
    assert book.watch.noise("last") == STUDY
    again = replace(STUDY, warnings=["of a slower tail not even twice as slow"], control=None)
    book.watch.add_noise(again)
    assert book.watch.noise("aa-r2") == again
    assert book.ask(lambda con: con.execute("select count(*), bool_and(too_noisy) from noise").fetchone()) == (1, True)


def test_a_study_is_found_by_a_prefix_that_only_one_has_and_the_newest_is_last(book: Book) -> None:
    older = replace(STUDY, noise_id="aa-r1", made_at="2026-11-23T02:00:00+00:00")
    for one in (STUDY, older):
        book.watch.add_noise(one)
    assert (book.watch.noise("aa-r1"), book.watch.noise("last")) == (older, STUDY)
    with pytest.raises(UsageError, match="'aa-' could be aa-r2, aa-r1"):
        book.watch.noise("aa-")
    with pytest.raises(UsageError, match="no A/A study 'bb'; there are aa-r2, aa-r1"):
        book.watch.noise("bb")


def test_an_id_that_another_begins_with_is_found(book: Book) -> None:
    longer = replace(STUDY, noise_id="aa-r22")
    for one in (STUDY, longer):
        book.watch.add_noise(one)
    assert book.watch.noise("aa-r2") == STUDY


def test_a_book_without_studies_says_how_to_make_one(book: Book) -> None:
    with pytest.raises(UsageError, match="no A/A study in this book yet"):
        book.watch.noise("last")


def test_a_study_is_there_again_in_a_book_that_was_made_anew(book: Book) -> None:
    book.watch.add_noise(STUDY)
    book.path.unlink()
    rebuild(book.path, Path(book.path.parent / "runs"), Journal(book.path.with_name("journal.jsonl")), "old")
    assert book.watch.noise("last") == STUDY
