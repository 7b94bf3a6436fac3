"""What the book keeps from night to night: incidents, changes of state, drifts, and whose spread is carried over."""

from dataclasses import replace

import pytest

from storage.errors import UsageError
from storage.records import Change, Drift, Incident, Symptom

FACTS = {"target": "gw", "series": "sweep", "workload_id": "w1", "plan_digest": "p1", "fingerprint": "f1"}
RUNS = [f"202611{day:02d}T020000Z-nightly-00{day:02d}" for day in range(1, 29)]


@pytest.fixture
def night(book, make_run):
    """The segment of the night of a day, judged in it, and in its baseline if `enters`."""

    def make(day: int, enters: bool = True, **facts: str) -> str:
        book.start_run(make_run(RUNS[day - 1]))
        segment = book.segment(RUNS[day - 1], **{**FACTS, **facts})
        if enters:
            book.enter_baseline(segment.segment_id, RUNS[day - 1], "gatebench", "quiet")
        return segment.segment_id

    return make


def incident(segment: str, number: str = "1", **facts: object) -> Incident:
    symptoms = [Symptom("latency_p95", None, 0.1, 0.1), Symptom("errors", 10, None, None)]
    values = (number, segment, "gw", "sweep", "latency", "open", RUNS[0], "at", "since", "10 nights", symptoms, 0)
    return replace(Incident(*values, RUNS[0], RUNS[0]), **facts)  # type: ignore[arg-type]


def opened(one: Incident) -> Change:
    return Change(one.incident_id, one.segment_id, one.opened_run, "opened", "p95 +10 %", "gatebench", "", "now", True)


def keep(book, one: Incident) -> None:
    book.watch.keep(one.segment_id, one.opened_run, lambda known, number: ([one], [opened(one)]))


def test_an_incident_comes_back_as_it_was_kept_with_its_changes(book, night):
    one = incident(night(1))
    keep(book, one)
    assert book.watch.incident("1") == one
    assert book.watch.incidents() == [one]
    assert book.watch.changes(incident_id="1") == book.watch.changes(run_id=RUNS[0]) == [opened(one)]


def test_a_step_is_shown_what_is_open_or_was_closed_by_this_run_and_the_next_number(book, night):
    segment = night(1)
    keep(book, incident(segment, "9"))
    keep(book, incident(segment, "10", status="fixed", last_run=RUNS[1]))
    seen = []
    for run in RUNS[1:3]:
        book.watch.keep(
            segment, run, lambda known, number: (seen.append(([i.incident_id for i in known], number)), ([], []))[1]
        )
    assert seen == [(["9", "10"], 11), (["9"], 11)]


def test_acknowledging_is_written_down_once_and_refused_when_it_is_over(book, night):
    segment = night(1)
    keep(book, incident(segment))
    for _ in range(2):
        assert book.watch.acknowledge("1", "ann", "asked the provider").status == "acknowledged"
    said = [(c.action, c.who, c.why, c.said_at) for c in book.watch.changes(incident_id="1")[1:]]
    assert said == [("acknowledged", "ann", "asked the provider", "2026-11-24T09:00:00+00:00")]
    keep(book, incident(segment, status="fixed"))
    with pytest.raises(UsageError, match="fixed already"):
        book.watch.acknowledge("1", "ann", "again")


def test_an_unknown_incident_is_refused_by_name(book):
    with pytest.raises(UsageError, match="there has been none so far"):
        book.watch.incident("1")


def test_accepting_an_incident_opens_a_segment_and_ends_every_incident_of_the_old_one(book, night):
    segment = night(1, enters=False)
    keep(book, incident(segment, "1"))
    keep(book, incident(segment, "2", family="throughput", status="acknowledged"))
    (home,) = book.watch.accept("1", "ann", "meant")
    assert home.segment_id != segment
    assert [i.status for i in book.watch.incidents(closed=True)] == ["accepted", "accepted"]
    assert book.baseline_runs(home.segment_id) == [RUNS[0]]
    assert [(c.incident_id, c.action, c.who) for c in book.watch.changes() if c.action == "accepted"] == [
        ("1", "accepted", "ann"),
        ("2", "accepted", "ann"),
    ]
    with pytest.raises(UsageError, match="accepted already"):
        book.watch.accept("2", "ann", "again")


def drift(night: int, c: float, onset: int | None = None, metric: str = "latency_p95") -> Drift:
    return Drift("gw", "sweep", metric, night, 0.01, 0.5, c, onset, None, 0, False)


def test_drifts_of_the_last_nights_before_a_run_oldest_first(book, night):
    for day in (1, 2, 3, 4):
        segment = night(day)
        book.watch.add_drifts(RUNS[day - 1], [(segment, drift(day, float(day)))])
    found = book.watch.drifts([segment], before="2026-11-04T02:00:00+00:00", most=2)
    assert [d.c for d in found] == [2.0, 3.0]
    assert book.watch.drifts(["other"], before="2026-11-04T02:00:00+00:00") == []
    book.watch.add_drifts(RUNS[2], [(segment, drift(3, 7.0))])
    assert book.watch.drifts([segment], before="2026-11-04T02:00:00+00:00", most=1)[0].c == 7.0


def test_the_night_of_an_onset_is_the_one_that_was_counted_or_the_last_of_the_anchor(book, night):
    for day in (1, 2, 3, 4):
        segment = night(day)
        if day > 2:
            book.watch.add_drifts(RUNS[day - 1], [(segment, drift(10 + day, 1.0))])
    before = "2026-11-05T02:00:00+00:00"
    assert book.watch.onset(segment, drift(15, 9.0, onset=13), before=before) == "2026-11-03T02:00:00+00:00"
    assert book.watch.onset(segment, drift(15, 9.0, onset=12), before=before) == "2026-11-02T02:00:00+00:00"
    assert book.watch.onset(segment, drift(15, 0.0), before=before) is None
    assert book.watch.onset("other", drift(15, 9.0, onset=1), before=before) is None


def test_a_spread_is_carried_from_the_machine_before_and_on_from_a_segment_too_short_to_have_one(book, night):
    for day in range(1, 12):
        first = night(day)
    second, third = night(12, fingerprint="f2"), night(13, fingerprint="f3")
    other = night(14, plan_digest="p2")
    carried = {segment.segment_id: segment.carried_from for segment in book.segments()}
    assert carried == {first: None, second: first, third: first, other: None}
