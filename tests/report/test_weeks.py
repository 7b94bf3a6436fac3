"""The page for the weeks, on a book with a slowdown in it: every segment, its baseline, its incidents."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.publish import view_with_trends, write_report
from tasks.report.trend import Way, line_beside, line_frame
from tasks.report.weeks import headline, render_weeks, tone
from tasks.trend import METRICS, lines, ways
from tests.fakes.house import FACTS, House

TAIL = {"latency_p95": 1.2, "latency_p99": 1.2}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Four quiet nights on one machine, then on another ten quiet ones and two slower ones: incident 1."""
    made = House(tmp_path_factory.mktemp("home"))
    for _ in range(4):
        made.night()
    other = {**FACTS, "fingerprint": "f2"}
    for _ in range(10):
        made.night(facts=other)
    made.night(TAIL, facts=other)
    made.night(TAIL, facts=other)
    yield made
    made.held.close()


@pytest.fixture(scope="module")
def found(house: House) -> list[Way]:
    return ways(house.book, lines(house.book.watch, METRICS, every=True))


def specs(page: str) -> dict[str, Any]:
    text = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.S)
    assert text
    loaded: dict[str, Any] = json.loads(text[1])
    return loaded


def test_the_page_opens_with_what_is_open_and_draws_every_number(found: list[Way]) -> None:
    page = render_weeks(found)
    assert headline(found).startswith("1 incident is open: gw p95 latency over all levels +")
    assert "since 2026-06-15." in headline(found)
    assert list(specs(page)) == [*(f"way-0-{metric}" for metric in METRICS), "way-0-drift"]
    for name in specs(page):
        assert f'id="chart-{name}"' in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", page.split("<script")[0])


def test_every_segment_says_how_it_began_and_what_its_nights_are_held_against(found: list[Way]) -> None:
    page = render_weeks(found)
    [way] = found
    assert len(way.segments) == 2
    for segment in way.segments:
        assert segment.segment_id in page
    assert "10 nights: p50 latency " in page and "4 nights: p50 latency " in page
    assert "gatebench incidents show 1" in page


def test_a_line_marks_the_other_machine_its_baseline_the_incident_and_the_change(found: list[Way]) -> None:
    line = next(line for line in found[0].lines if line.metric == "latency_p95")
    frame, beside = line_frame(line), line_beside(line)
    assert frame.height == 16
    assert frame["value"][0] == pytest.approx(200, rel=0.05)
    assert (frame["lower"] < frame["value"]).all() and (frame["upper"] > frame["value"]).all()
    assert frame["baseline"].to_list() == [True] * 14 + [False] * 2
    assert [when[:10] for when in beside.segments["when"]] == ["2026-06-05"]
    assert beside.anchors["nights"].to_list() == [4, 10]
    assert beside.anchors["from"][1][:10] == "2026-06-05"
    assert [(row[0][:10], row[2]) for row in beside.incidents.iter_rows()] == [("2026-06-15", "incident 1")]


def test_without_an_open_incident_the_page_is_quiet_or_says_what_drifts(found: list[Way]) -> None:
    [way] = found
    calm = [replace(way, incidents=[], lines=[replace(line, drift=None) for line in way.lines])]
    assert (headline(calm), tone(calm)) == ("Quiet: no incident is open and nothing drifts, 16 nights.", "good")
    drift = next(line.drift for line in way.lines if line.metric == "latency_p95")
    assert drift is not None
    moving = [replace(calm[0], lines=[replace(line, drift=replace(drift, alarm=True)) for line in way.lines[:1]])]
    assert (headline(moving), tone(moving)) == ("No incident is open; gw p50 latency drifts.", "warn")


def test_a_run_shows_its_number_up_to_that_night_and_no_further(house: House) -> None:
    view = view_with_trends(house.nights[10], house.settings)
    [line] = view.trends
    assert (line.metric, line.level) == ("latency_p95", 100)
    assert [night.run_id for night in line.nights] == house.nights[:11]
    assert sorted(anchor.nights for anchor in line.anchors) == [4, 7]
    page = write_report(house.nights[-1], house.settings).read_text(encoding="utf-8")
    assert "last changed" in page or "from its baseline of" in page
    assert "nights-0" in specs(page)


def test_an_earlier_workload_has_a_part_of_its_own_when_it_is_asked_for(tmp_path: Path) -> None:
    house = House(tmp_path)
    for k in range(4):
        house.night(facts={**FACTS, "workload_id": "w1" if k < 2 else "w2"})
    watch = house.book.watch
    assert [len(line.nights) for line in lines(watch, ["latency_p95"])] == [2]
    found = ways(house.book, lines(watch, ["latency_p95"], every=True))
    assert [(way.way, [n.run_id for n in way.lines[0].nights]) for way in found] == [
        (1, house.nights[2:]),
        (2, house.nights[:2]),
    ]
    page = render_weeks(found)
    assert "gw sweep, over all levels, with an earlier workload or plan: 2 nights, 2026-06-01 to 2026-06-02" in page
    house.held.close()
