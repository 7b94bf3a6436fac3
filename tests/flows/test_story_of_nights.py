"""Many nights, one after the other, through the book as the nightly does it: judged, confirmed, remembered, told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.house import FACTS, House

TAIL = {"latency_p95": 1.1, "latency_p99": 1.1}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.held.close()


def quiet(house: House, nights: int) -> list[str]:
    return [house.night() for _ in range(nights)]


def test_ten_quiet_nights_raise_nothing_and_all_are_in_the_baseline(house: House) -> None:
    assert set(quiet(house, 10)) <= {"unchanged", "inconclusive"}
    assert house.messages == []
    assert house.book.watch.incidents(closed=True) == []
    assert house.baseline() == list(range(10))


def test_a_slower_tail_opens_one_incident_that_is_told_once_and_its_nights_stay_out(house: House) -> None:
    quiet(house, 10)
    assert house.night(TAIL) == "regressed"
    (incident,) = house.book.watch.incidents()
    assert (incident.incident_id, incident.family, incident.status) == ("1", "latency", "open")
    assert (incident.opened_run, incident.since) == (house.nights[10], "2026-06-11T02:00:00+00:00")
    assert incident.against == f"10 nights, {house.nights[0]} to {house.nights[9]}"
    (message,) = house.messages
    assert message.startswith("gatebench: nightly regressed\nRegressed: ")
    assert "Incident 1 opened: gw p95 latency over all levels +" in message
    assert "gatebench incidents show 1" in message
    assert "Since: tonight" in message
    assert "Against: 10 nights" in message
    assert [house.night(TAIL) for _ in range(4)] == ["regressed"] * 4
    assert len(house.messages) == 1
    assert house.baseline() == list(range(10))


def test_a_quiet_night_inside_an_open_incident_stays_out_too_and_a_fix_is_told_once(house: House) -> None:
    quiet(house, 10)
    house.night(TAIL)
    assert quiet(house, 2) == ["unchanged"] * 2
    assert house.baseline() == list(range(10))
    quiet(house, 4)
    (incident,) = house.book.watch.incidents(closed=True)
    assert incident.status == "fixed"
    assert len(house.messages) == 2
    assert house.messages[1].startswith("gatebench: nightly fixed\n")
    assert "Incident 1 is fixed: gw p95 latency over all levels" in house.messages[1]
    assert "Since: 2026-06-11T02:00:00+00:00" in house.messages[1]
    closed = next(k for k, run in enumerate(house.nights) if run == incident.last_run)
    assert house.baseline() == [*range(10), *range(closed + 1, 17)]
    quiet(house, 2)
    assert len(house.messages) == 2


def test_an_accepted_incident_opens_a_new_segment_that_stays_quiet(house: House) -> None:
    quiet(house, 12)
    house.night(TAIL)
    old = house.segment()
    (opened,) = house.book.watch.accept("1", "ann", "the new model is slower")
    assert opened.carried_from == old
    assert house.book.watch.incident("1").status == "accepted"
    words = [house.night(TAIL) for _ in range(12)]
    assert words == ["inconclusive"] * 2 + ["unchanged"] * 10  # errors are judged from three nights on
    assert len(house.messages) == 1
    assert house.baseline() == list(range(12, 25))
    said = [(c.action, c.who, c.why) for c in house.book.watch.changes(incident_id="1")]
    assert said == [("opened", "gatebench", "confirmed"), ("accepted", "ann", "the new model is slower")]


def test_a_new_segment_sees_the_next_regression_on_its_second_night_with_the_spread_of_the_old(house: House) -> None:
    quiet(house, 12)
    house.night(TAIL)
    house.book.accept("last", "ann", "meant")
    assert house.night({"latency_p95": 1.3, "latency_p99": 1.3}) == "regressed"


def test_better_on_three_nights_running_is_the_new_normal_told_once(house: House) -> None:
    quiet(house, 10)
    old = house.segment()
    faster = {"latency_p95": 0.85, "latency_p99": 0.85}
    assert [house.night(faster) for _ in range(3)] == ["improved"] * 3
    (message,) = house.messages
    assert message.startswith("gatebench: nightly improved, the new normal\n")
    assert "A new normal: gw p95 latency over all levels −1" in message
    assert house.night(faster) == "unchanged"
    assert house.segment() != old
    assert house.baseline() == [10, 11, 12, 13]
    assert house.night() == "regressed"
    assert len(house.messages) == 2


def test_better_on_two_nights_only_is_no_new_normal(house: House) -> None:
    quiet(house, 10)
    old = house.segment()
    faster = {"latency_p95": 0.85, "latency_p99": 0.85}
    house.night(faster), house.night(faster), house.night(), house.night(faster)
    assert (house.messages, house.segment()) == ([], old)


def test_invalid_interrupted_and_ad_hoc_nights_neither_enter_nor_feed_the_memory(house: House) -> None:
    quiet(house, 10)
    house.night(validity="invalid")
    house.night(status="interrupted")
    house.night(scheduled=False)
    assert house.night(TAIL, scheduled=False) == "regressed"
    assert house.book.watch.incidents(closed=True) == []
    assert house.baseline() == list(range(10))
    titles = [m.split("\n")[0] for m in house.messages]  # of the runs themselves, not of an incident
    assert titles == ["gatebench: nightly failed", "gatebench: nightly regressed"]
    house.night()
    assert house.baseline() == [*range(10), 14]


def test_a_regression_that_was_not_seen_again_opens_nothing(house: House) -> None:
    quiet(house, 10)
    assert house.night(TAIL, confirmed=False) == "unchanged"
    assert house.book.watch.incidents(closed=True) == []


def test_a_metric_that_joins_is_told_and_other_families_are_incidents_of_their_own(house: House) -> None:
    quiet(house, 10)
    house.night({"latency_p95": 1.2})
    house.night({"latency_p95": 1.2, "latency_p50": 1.2, "throughput": 1 / 1.2})
    assert [(i.incident_id, i.family) for i in house.book.watch.incidents()] == [("2", "throughput"), ("1", "latency")]
    assert "Incident 1 has spread: gw p50 latency over all levels +" in house.messages[1]
    assert "Incident 2 opened: gw throughput over all levels −1" in house.messages[1]
    assert len(house.messages) == 2


def test_growth_by_half_is_told(house: House) -> None:
    quiet(house, 10)
    house.night({"latency_p95": 1.2})
    house.night({"latency_p95": 1.2})
    house.night({"latency_p95": 1.5})
    house.night({"latency_p95": 1.5})
    assert len(house.messages) == 2
    assert "Incident 1 has grown: gw p95 latency over all levels +" in house.messages[1]


def test_a_slow_creep_is_found_as_a_drift_with_its_onset_and_pace(house: House) -> None:
    quiet(house, 30)
    words = [house.night({"latency_p50": 1.003 ** (k + 1)}) for k in range(12)]
    first = words.index("regressed")
    assert set(words[:first]) == {"unchanged"}
    assert first <= 11
    (incident,) = house.book.watch.incidents()
    opened = house.book.watch.changes(incident_id="1")[0]
    assert (opened.action, opened.why[:12]) == ("opened", "drift of +0.")
    assert incident.against == f"30 nights, {house.nights[0]} to {house.nights[29]}"
    assert incident.since < incident.opened_at
    assert f"Since: {incident.since}" in house.messages[0]
    assert house.baseline()[-1] < 30 + first


def test_a_drift_that_is_mended_is_fixed_once_and_its_sum_begins_anew(house: House) -> None:
    quiet(house, 30)
    while house.night({"latency_p50": 1.06}) != "regressed" or not house.book.watch.incidents():
        assert len(house.nights) < 50
    quiet(house, 8)
    assert house.book.watch.incidents() == []
    assert [m.split("\n")[0].removeprefix("gatebench: nightly ") for m in house.messages] == ["regressed", "fixed"]
    assert house.night() == "unchanged"


def test_another_machine_carries_the_spread_over_and_finds_its_own_location(house: House) -> None:
    quiet(house, 12)
    twice = dict.fromkeys(("latency_p50", "latency_p95", "latency_p99", "ttft_p95"), 2.0)
    house.night(twice, facts={**FACTS, "fingerprint": "f2"})
    assert house.book.segments(house.nights[-1])[0].carried_from == house.book.segments(house.nights[0])[0].segment_id
    words = [house.night(twice, facts={**FACTS, "fingerprint": "f2"}) for _ in range(5)]
    assert words == ["inconclusive"] * 2 + ["unchanged"] * 3  # errors are judged from three nights on
    slower = dict.fromkeys(twice, 2.4)
    assert house.night(slower, facts={**FACTS, "fingerprint": "f2"}) == "regressed"
    house.messages.pop()
    assert house.messages == []
