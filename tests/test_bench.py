"""The benchmark's own arithmetic, and that its clients still fit the engine: no figure is judged here."""

import sys
from dataclasses import replace

import pytest

from tests.bench.client import Job, measure
from tests.bench.engine import responder, split
from tests.bench.marks import MARKS, number, table, verdict
from tests.bench.peers import _ms
from tests.bench.soak import grown

CPU, RATE = (next(m for m in MARKS if m.key == key) for key in ("cpu_plain", "rps"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the responder is an epoll loop")


def test_the_median_of_the_runs_decides_not_the_worst_nor_the_best():
    assert verdict(CPU, [0.2, 0.44, 0.45, 9.0, 0.2]) == "holds"
    assert verdict(CPU, [0.2, 0.44, 0.46, 9.0, 9.0]) == "MISSED"
    assert verdict(CPU, [0.3, 0.1, 9.0]) == "moonshot"


def test_a_mark_that_asks_for_more_is_missed_from_below():
    assert [verdict(RATE, [value]) for value in (2.4, 2.5, 3.9, 4.0)] == ["MISSED", "holds", "holds", "moonshot"]


def test_a_mark_without_a_moonshot_holds():
    assert verdict(replace(CPU, moonshot=None), [0.0]) == "holds"


def test_the_table_has_a_line_a_mark_and_says_what_was_not_measured():
    assert table({"cpu_plain": [0.4, 0.5, 0.3]}, {"wrk": "wrk is not installed"})[2:] == [
        f"| {CPU.text} | 0.40 (0.30–0.50) × | ≤ 0.45 | ≤ 0.3 | holds |",
        "wrk: not measured: wrk is not installed",
    ]


def test_numbers_are_told_with_three_digits_or_so():
    assert [number(value) for value in (12345.6, 99.94, 3.456, -0.004)] == ["12,346", "99.9", "3.46", "-0.00"]


def test_wrks_units_become_milliseconds():
    assert [_ms(text) for text in ("521.00us", "51.34ms", "1.5s", "2m")] == [0.521, 51.34, 1500.0, 120_000.0]


def test_growth_is_of_the_line_through_all_minutes_but_the_first():
    assert grown([500.0, 10.0, 12.0, 14.0]) == pytest.approx(4.0)
    assert grown([1.0, 2.0, 3.0]) == 0.0


def test_the_responder_gets_a_core_of_its_own_where_there_are_two():
    assert [split(cores) for cores in ([3], [0, 1], [0, 1, 5])] == [((3,), None), ((0,), 1), ((0, 1), 5)]


@pytest.mark.parametrize(
    ("behaviour", "more", "stamps"),
    [
        ("instant", {}, None),
        ("instant", {"stream": True}, 32 * 100),
        ("stream", {"stream": True}, 40 * 100),
        ("delayed", {"rate": 200.0, "seconds": 0.5}, None),
    ],
)
def test_the_engine_is_measured_on_each_behaviour_and_every_chunk_is_stamped(behaviour, more, stamps):
    with responder(None) as ports:
        found = measure(Job("engine", ports[behaviour], (), requests=100, users=20, **more))
    assert found.get("stamps") == stamps
    assert found["requests"] >= 100
