"""Sustainable rates, in the book and out of it."""

from dataclasses import replace
from pathlib import Path

from storage.records import Estimate, RateProbe, Slo, Sustained
from storage.store import Book

KEPT = RateProbe("gw", 1, 380.0, 380.0, 0.0, 0.001, 0.0, 0.06, 3800, True, "none", "kept up")
LOST = RateProbe("gw", 2, 420.0, 400.0, 0.05, 0.002, 0.01, None, 4200, False, "capacity", "fell behind")
PROMISED = Slo("p95(latency) < 100ms", "p95", "latency", 0.1, None)
FOUND = Sustained("gw", Estimate(380.0, 376.0, 420.0, 3800, 1), True, "capacity", False, "", [KEPT, LOST], [PROMISED])
NONE = Sustained("gw", None, False, "errors", False, "every rate failed", [replace(LOST, limit="errors")])


def test_sustainable_rates_come_back_as_they_were_and_a_second_summary_replaces_the_first(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.duckdb")
    book.add_sustained("r1", [FOUND])
    book.add_sustained("r1", [NONE, FOUND])
    assert book.sustained("r1") == [NONE, FOUND]
    assert book.sustained("r2") == []
