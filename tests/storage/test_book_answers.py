"""Costs and gateway facts in the book: as they were put, and in the place of what was there."""

import shutil
from dataclasses import replace
from pathlib import Path

from storage.connection import open_file
from storage.migrate import MIGRATIONS, migrate
from storage.records import Calibration, Cost, GatewayFacts

COST = Cost("a", "first", "gw", "sweep", 10, "m", 20, 1, 2000, 100, 300, 0.25, 2, 15, None)
FACTS = GatewayFacts(
    *("first", "gw", "sweep", 10, 20, 18, 20, {"200": 18, "429": 2}, {"rate_limited": 2}, {"stop": 18}, 2, 2, 1.0, 3.5),
    *(1, 18, 0, 0, 4, 18, 1, 18, [("m", "m", 17), ("m", "n", 1)]),
)


def test_costs_come_back_in_their_order_and_replace_those_before(book):
    several = [replace(COST, model="z", usd=None), COST]
    book.add_costs("r1", [COST])
    book.add_costs("r1", several)
    book.add_costs("r2", [COST])
    assert book.costs("r1") == several
    assert book.costs("r3") == []


def test_gateway_facts_come_back_whole_the_first_attempt_before_the_confirm(book):
    again = replace(FACTS, attempt="confirm", retry_after_p50_s=None)
    book.add_gateway_facts("r1", [FACTS])
    book.add_gateway_facts("r1", [again, FACTS])
    assert book.gateway_facts("r1") == [FACTS, again]


def test_each_shape_and_transport_keeps_its_calibration(book):
    made = [Calibration(s, 0.3, 0.9, 9000.0, transport=t) for s in (False, True) for t in ("wire", "httpx")]
    for calibration in made:
        book.add_calibration("r1", calibration)
    better = replace(made[0], floor_p50_ms=0.1)
    book.add_calibration("r1", better)
    assert book.calibrations("r1") == [better, *made[1:]]


def test_a_book_from_before_costs_keeps_its_calibrations_as_those_of_our_own_transport(tmp_path: Path, book):
    (tmp_path / "old").mkdir()
    shutil.copy(MIGRATIONS / "0001_first.sql", tmp_path / "old")
    path = tmp_path / "b.duckdb"
    con = open_file(path)
    assert migrate(con, tmp_path / "old") == [1]
    con.execute("insert into calibrations values ('r1', true, 0.3, 0.9, 9000, null, null, null)")
    assert 2 in migrate(con)
    con.close()
    found = type(book)(path)
    assert found.calibrations("r1") == [Calibration(True, 0.3, 0.9, 9000.0)]
    assert (found.costs("r1"), found.gateway_facts("r1")) == ([], [])
