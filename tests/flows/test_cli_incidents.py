"""`gatebench incidents` and `gatebench trend`, on a book with a regression in it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import run
from flows.trends import sparkline
from storage.trend import TrendNight
from tests.fakes.house import House

TAIL = {"latency_p95": 1.2, "latency_p99": 1.2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ten quiet nights and two slower ones: incident 1."""
    folder = tmp_path_factory.mktemp("home")
    house = House(folder)
    for _ in range(10):
        house.night()
    house.night(TAIL)
    house.night(TAIL)
    yield folder
    house.held.close()


@pytest.fixture
def said(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "Said":
    monkeypatch.setenv("GATEBENCH_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")
    return Said(home, capsys)


class Said:
    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.capsys = capsys

    def by(self, *arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--home", str(self.home)])
        out, err = self.capsys.readouterr()
        return code, out, err


def test_the_list_says_what_since_when_and_how_to_see_more(said: Said) -> None:
    code, out, err = said.by("incidents")
    assert (code, err) == (0, "")
    assert "gw p95 latency over all levels +2" in out
    assert "2026-06-11" in out
    assert "10 nights" in out
    assert "gatebench incidents show 1" in out


def test_the_list_and_its_name_are_the_same_as_json(said: Said) -> None:
    plain, named = (
        json.loads(said.by("incidents", "--json", "-")[1]),
        json.loads(said.by("incidents", "list", "--json", "-")[1]),
    )
    assert plain == named
    assert plain["schema"] == "gatebench.incidents/1"
    (one,) = plain["incidents"]
    assert (one["incident_id"], one["family"]) == ("1", "latency")


def test_one_incident_is_told_with_its_story_and_acknowledged_with_who_and_why(said: Said) -> None:
    assert said.by("incidents", "ack", "1", "--why", "asked [them]")[:2] == (0, "incident 1 is acknowledged\n")
    code, out, _ = said.by("incidents", "show", "1")
    assert code == 0
    assert "acknowledged" in out
    assert "asked [them]" in out
    assert "gatebench incidents accept 1" in out
    told = json.loads(said.by("incidents", "show", "1", "--json", "-")[1])
    assert [change["action"] for change in told["changes"]] == ["opened", "acknowledged"]
    said.by("incidents", "ack", "1")
    assert json.loads(said.by("incidents", "show", "1", "--json", "-")[1])["changes"] == told["changes"]


def test_an_incident_that_is_not_there_is_refused_with_those_that_are(said: Said) -> None:
    assert said.by("incidents", "show", "7") == (2, "", "gatebench: no incident '7'; there are 1\n")


def test_a_trend_is_a_line_a_metric(said: Said) -> None:
    code, out, err = said.by("trend", "--metric", "latency_p95", "--metric", "throughput")
    assert (code, err) == (0, "")
    assert "gw sweep, over all levels: 12 nights, 2026-06-01 to 2026-06-12" in out
    assert out.count("p95 latency") == 1
    assert "██" in out
    assert "/s" in out


def test_a_trend_as_json_has_every_night_with_its_verdict(said: Said) -> None:
    found = json.loads(said.by("trend", "gw", "--metric", "latency_p95", "--level", "10", "--json", "-")[1])
    (line,) = found["trends"]
    assert (found["schema"], line["level"], len(line["nights"])) == ("gatebench.trend/1", 10, 12)
    assert [night["verdict"] for night in line["nights"]][-3:] == ["unchanged", "regressed", "regressed"]
    assert [night["in_baseline"] for night in line["nights"]][-3:] == [True, False, False]
    assert line["nights"][0]["value"] == pytest.approx(0.2, rel=0.05)


def test_a_trend_as_a_page_is_written_where_it_was_asked_and_its_path_is_said(said: Said, tmp_path: Path) -> None:
    page = tmp_path / "weeks.html"
    code, out, err = said.by("trend", "--html", str(page))
    assert (code, err) == (0, "")
    assert f"page: {page}" in out
    text = page.read_text(encoding="utf-8")
    assert "1 incident is open: gw p95 latency over all levels" in text
    assert len(text) < 2_000_000
    found = json.loads(said.by("trend", "--html", str(page), "--json", "-")[1])
    assert found["page"] == str(page)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("nope",), "no night of target 'nope'; there are gw"), (("--metric", "speed"), "no night has speed")],
)
def test_a_trend_of_nothing_says_what_there_is(said: Said, arguments: tuple[str, ...], what: str) -> None:
    code, out, err = said.by("trend", *arguments)
    assert (code, out) == (2, "")
    assert what in err


def test_an_accepted_incident_is_over_and_the_next_nights_are_judged_anew(said: Said) -> None:
    code, out, _ = said.by("incidents", "accept", "1", "--why", "meant")
    assert code == 0
    assert out.startswith("incident 1 is accepted; from now on nights are judged in ")
    assert said.by("incidents")[1] == "no open incidents; 1 that are over: gatebench incidents --all\n"
    assert "accepted" in said.by("incidents", "--all")[1]
    assert said.by("incidents", "accept", "1")[0] == 2


def night(value: float, segment: str = "a") -> TrendNight:
    return TrendNight("r", "2026-06-01", segment, "gw", "sweep", None, True, value, True)


def test_a_sparkline_spans_lowest_to_highest_and_marks_another_segment() -> None:
    assert sparkline([night(1), night(2), night(3)]) == "▁▅█"
    assert sparkline([night(1), night(2, "b")]) == "▁│█"
    assert sparkline([night(1), night(2, "b")], plain=True) == "1|8"
    assert sparkline([night(2), night(2)]) == "▅▅"
