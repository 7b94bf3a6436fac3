"""Targets side by side, in the book and out of it."""

from dataclasses import replace
from pathlib import Path

from storage.records import Comparison
from storage.store import Book

ONE = Comparison(
    "main", "cand", "candidate", "latency_p95", 10, 0.2, 0.24, 0.2, 0.15, 0.25, 0.04, 0.03, 0.05, 0.001, 0.08, 0.19,
    5, 2000, False, True, "regressed", "",
)  # fmt: skip
MEAN = replace(ONE, level=None, by=None, by_lower=None, by_upper=None, again=None)


def test_comparisons_come_back_as_they_were_and_a_second_look_replaces_the_first(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.duckdb")
    book.add_comparisons("r1", [ONE])
    book.add_comparisons("r1", [MEAN, ONE])
    assert book.comparisons("r1") == [MEAN, ONE]
    assert book.comparisons("r2") == []
