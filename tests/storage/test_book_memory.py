from dataclasses import replace

import polars as pl
import pytest

from storage.errors import UsageError
from storage.memory import may_enter
from storage.segments import segment_key

FACTS = {"target": "gw", "series": "sweep", "workload_id": "w1", "plan_digest": "p1", "fingerprint": "f1"}
COLUMNS = {
    "night": pl.Int64,
    "target": pl.String,
    "series": pl.String,
    "level": pl.Int64,
    "metric": pl.String,
    "value": pl.Float64,
    "n": pl.Int64,
}


def night_id(day: int) -> str:
    return f"202611{day:02d}T020000Z-nightly-00{day:02d}"


@pytest.fixture
def one_night(book, make_run, make_cell):
    """Measure the night of a day: p95 = day / 10 s at the target, day s at the control; False: not in the baseline."""

    def measure(day: int, enters: bool = True, **facts: str) -> str:
        run = make_run(night_id(day))
        book.start_run(run)
        cells = [
            make_cell(point=day / 10),
            make_cell("latency_p90", 9.0),
            make_cell("errors", 0.002),
            make_cell(point=99.0, attempt="confirm"),
            make_cell(point=99.0, series="replay", level=0),
            make_cell(point=float(day), target="control"),
        ]
        book.add_cells(run.run_id, cells)
        segment = book.segment(run.run_id, **{**FACTS, **facts})
        if enters:
            book.enter_baseline(segment.segment_id, run.run_id, "nightly", "unchanged")
        return segment.segment_id

    return measure


def values(frame: pl.DataFrame, target: str = "gw", metric: str = "latency_p95") -> list[tuple[int, float]]:
    return frame.filter(target=target, metric=metric).select("night", "value").rows()


def test_a_segment_key_depends_on_every_fact_and_on_nothing_else():
    key = segment_key(**FACTS)
    assert key == "ebca739bfa92d79c"
    assert len({key} | {segment_key(**{**FACTS, name: "other"}) for name in FACTS}) == 6


def test_history_is_the_first_attempt_of_the_judged_metrics_with_the_control_beside_it(book, one_night):
    for day in (1, 2):
        segment = one_night(day)
    frame = book.history([segment], before="2026-11-03T02:00:00+00:00")
    assert dict(frame.schema) == COLUMNS
    assert frame.rows() == [
        (1, "control", "sweep", 10, "latency_p95", 1.0, 1000),
        (1, "gw", "sweep", 10, "errors", 2.0, 1000),
        (1, "gw", "sweep", 10, "latency_p95", 0.1, 1000),
        (2, "control", "sweep", 10, "latency_p95", 2.0, 1000),
        (2, "gw", "sweep", 10, "errors", 2.0, 1000),
        (2, "gw", "sweep", 10, "latency_p95", 0.2, 1000),
    ]


def test_tonight_has_the_columns_of_history_so_that_both_can_be_stacked(book, one_night):
    segment = one_night(1)
    tonight = book.tonight(night_id(1), night=5)
    assert dict(tonight.schema) == COLUMNS
    assert tonight.filter(target="gw", metric="latency_p95", series="sweep").row(0)[5] == 0.1
    assert set(tonight["series"]) == {"sweep", "replay"}
    assert book.tonight(night_id(1), night=5, attempt="confirm")["value"].to_list() == [99.0]
    assert pl.concat([book.history([segment], before="2026-11-01T02:00:00+00:00"), tonight]).height == tonight.height


def test_the_anchor_is_the_first_nights_and_later_ones_do_not_move_it(book, one_night):
    for day in (3, 1, 2, 4, 5):
        segment = one_night(day)
    anchor = [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert values(book.history([segment], before="2026-11-06T02:00:00+00:00", limit=3)) == anchor
    one_night(6)
    assert values(book.history([segment], before="2026-11-07T02:00:00+00:00", limit=3)) == anchor


def test_the_run_that_is_judged_and_the_nights_after_it_are_not_its_history(book, one_night):
    for day in (1, 2, 3):
        segment = one_night(day)
    assert values(book.history([segment], before="2026-11-02T02:00:00+00:00")) == [(1, 0.1)]


def test_an_accepted_regression_opens_the_next_generation_with_that_night_as_its_first(book, one_night, make_verdict):
    for day in (1, 2):
        old = one_night(day)
    one_night(3, enters=False)
    book.add_verdicts(night_id(3), [make_verdict("regressed")])
    (opened,) = book.accept(night_id(3), "ann", "new model behind it")
    assert (opened.generation, opened.segment_key) == (2, segment_key(**FACTS))
    assert one_night(4) == opened.segment_id != old
    assert book.baseline_runs(old) == [night_id(1), night_id(2)]
    assert values(book.history([opened.segment_id], before="2026-11-05T02:00:00+00:00")) == [(1, 0.3), (2, 0.4)]
    (entry, _) = book.baseline_entries(opened.segment_id)
    assert (entry.action, entry.who, entry.why, entry.said_at) == (
        "accepted",
        "ann",
        "new model behind it",
        "2026-11-24T09:00:00+00:00",
    )


def test_accepting_the_same_change_twice_accepts_it_once(book, one_night, make_verdict):
    one_night(1, enters=False)
    book.add_verdicts(night_id(1), [make_verdict("improved")])
    first = book.accept("last", "ann", "cache on")
    assert book.accept(night_id(1), "bob", "cache on") == first
    assert [segment.generation for segment in book.segments()] == [1, 2]
    assert len(book.baseline_entries(first[0].segment_id)) == 1


def test_an_accepted_run_that_did_not_change_joins_the_baseline_it_was_judged_against(book, one_night, make_verdict):
    segment = one_night(1, enters=False)
    book.add_verdicts(night_id(1), [make_verdict("unchanged")])
    assert [s.segment_id for s in book.accept(night_id(1), "ann", "by hand, same set-up")] == [segment]
    assert book.baseline_runs(segment) == [night_id(1)]


def test_a_run_that_is_judged_again_keeps_the_segment_of_its_night(book, one_night, make_verdict):
    old = one_night(1)
    one_night(2, enters=False)
    book.add_verdicts(night_id(2), [make_verdict("regressed")])
    book.accept(night_id(2), "ann", "meant")
    assert book.segment(night_id(2), **FACTS).segment_id == old
    assert book.segments(night_id(2)) == [book.segments()[0]]


def test_a_rejected_run_leaves_every_baseline_and_does_not_come_back_by_itself(book, one_night):
    for day in (1, 2):
        segment = one_night(day)
    assert book.reject(night_id(1), "ann", "the host was busy") == [segment]
    assert book.baseline_runs(segment) == [night_id(2)]
    assert book.enter_baseline(segment, night_id(1), "nightly", "unchanged") is False
    assert values(book.history([segment], before="2026-11-03T02:00:00+00:00")) == [(1, 0.2)]
    book.accept(night_id(1), "bob", "it was not")
    assert book.baseline_runs(segment) == [night_id(1), night_id(2)]
    said = [(e.run_id, e.action, e.who) for e in book.baseline_entries(segment)]
    assert said == [
        (night_id(1), "entered", "nightly"),
        (night_id(2), "entered", "nightly"),
        (night_id(1), "rejected", "ann"),
        (night_id(1), "accepted", "bob"),
    ]


def test_a_run_that_was_never_judged_is_neither_accepted_nor_rejected(book, make_run):
    book.start_run(make_run())
    with pytest.raises(UsageError, match="never judged"):
        book.accept("last", "ann", "why not")
    with pytest.raises(UsageError, match="never judged"):
        book.reject("last", "ann", "why not")


def test_another_machine_is_another_segment_with_no_history(book, one_night):
    one_night(1)
    other = one_night(2, enters=False, fingerprint="f2")
    frame = book.history([other], before="2026-11-03T02:00:00+00:00")
    assert (frame.height, dict(frame.schema)) == (0, COLUMNS)


def test_a_scheduled_quiet_whole_night_enters_by_itself_and_nothing_else_does(make_run, make_verdict):
    run, quiet = make_run(), [make_verdict("unchanged"), make_verdict("inconclusive", "2 nights")]
    assert may_enter(run, quiet, resumed=False, quarantined=False)
    assert may_enter(
        run, [make_verdict("inconclusive", "inconclusive: 1 night; p95 is 30 % up")], resumed=False, quarantined=False
    )
    assert not may_enter(run, quiet, resumed=True, quarantined=False)
    assert not may_enter(run, [], resumed=False, quarantined=False)
    assert not may_enter(replace(run, scheduled=False), quiet, resumed=False, quarantined=False)
    for status in ("interrupted", "cancelled", "failed"):
        assert not may_enter(replace(run, status=status), quiet, resumed=False, quarantined=False)
    for verdict, reason in (
        ("regressed", ""),
        ("improved", ""),
        ("invalid", "the generator was the limit"),
        ("inconclusive", "control moved by 8 %"),
        ("inconclusive", "candidate"),
    ):
        assert not may_enter(run, [*quiet, make_verdict(verdict, reason)], resumed=False, quarantined=False)
