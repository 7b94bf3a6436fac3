"""The life of an incident, one pure step at a time."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from storage.records import Change, Incident, Symptom, Verdict
from tasks.stats.incidents import Night, new_normal, step


def v(
    metric: str = "latency_p95", level: int | None = None, effect: float | None = 0.1, word: str = "regressed"
) -> Verdict:
    lower = None if effect is None else effect - 0.05
    upper = None if effect is None else effect + 0.05
    return Verdict("gw", "sweep", metric, level, effect, lower, upper, 0.001, 0.06, word, "confirmed")


def quiet(metric: str = "latency_p95", level: int | None = None, effect: float = 0.0) -> Verdict:
    return v(metric, level, effect, "unchanged")


def night(run: str, *verdicts: Verdict, **facts: object) -> Night:
    values = {"valid": True, "onsets": {}, **facts}
    return Night(run, f"at {run}", "s-1", "gw", "sweep", verdicts, "10 nights", **values)  # type: ignore[arg-type]


def go(known: Sequence[Incident], of: Night) -> tuple[list[Incident], list[Change]]:
    return step(known, of, first_id=7, now="now", words=lambda w: f"{w.metric} {w.effect}")


@pytest.fixture
def incident() -> Incident:
    (opened,), _ = go([], night("r1", v()))
    return opened


def test_a_quiet_night_does_nothing() -> None:
    assert go([], night("r1", quiet())) == ([], [])


def test_a_regression_opens_an_incident_of_its_family_and_is_told() -> None:
    (opened,), (change,) = go([], night("r1", v(level=10, effect=0.2), v(effect=0.1), quiet("throughput")))
    assert (opened.incident_id, opened.family, opened.status, opened.since) == ("7", "latency", "open", "at r1")
    assert opened.symptoms == [Symptom("latency_p95", None, 0.1, 0.1)]
    assert (change.action, change.what, change.who, change.told) == ("opened", "latency_p95 0.1", "gatebench", True)
    assert (change.why, change.said_at, change.run_id) == ("confirmed", "now", "r1")


def test_each_family_is_an_incident_of_its_own() -> None:
    touched, changes = go([], night("r1", v("throughput"), v("latency_p50"), v("latency_p99"), v("errors", 10, None)))
    assert [(i.incident_id, i.family) for i in touched] == [("7", "throughput"), ("8", "latency"), ("9", "errors")]
    assert len(changes) == 3


def test_without_a_mean_the_worst_level_stands_for_the_metric() -> None:
    (opened,), _ = go([], night("r1", v(level=10, effect=0.2), v(level=50, effect=0.3)))
    assert opened.symptoms == [Symptom("latency_p95", 50, 0.3, 0.3)]


def test_the_same_again_is_not_told_again(incident: Incident) -> None:
    (after,), changes = go([incident], night("r2", v(effect=0.14)))
    assert changes == []
    assert after.symptoms == [Symptom("latency_p95", None, 0.14, 0.1)]
    assert (after.last_run, after.regressed_run) == ("r2", "r2")


def test_growth_by_half_is_told_once_and_counts_from_there(incident: Incident) -> None:
    (after,), (change,) = go([incident], night("r2", v(effect=0.16)))
    assert change.action == "grew"
    assert go([after], night("r3", v(effect=0.2)))[1] == []


def test_another_level_that_is_worse_is_no_growth(incident: Incident) -> None:
    assert go([incident], night("r2", v(effect=0.1), v(level=100, effect=0.5)))[1] == []


def test_a_metric_that_joins_is_told(incident: Incident) -> None:
    (after,), (change,) = go([incident], night("r2", v(), v("latency_p99", effect=0.3)))
    assert (change.action, change.what) == ("joined", "latency_p99 0.3")
    assert [s.metric for s in after.symptoms] == ["latency_p95", "latency_p99"]


def test_three_nights_inside_the_interval_fix_it_and_that_is_told(incident: Incident) -> None:
    for k, run in enumerate(("r2", "r3")):
        (incident,), changes = go([incident], night(run, quiet()))
        assert (incident.inside, incident.status, changes) == (k + 1, "open", [])
    (incident,), (change,) = go([incident], night("r4", quiet()))
    assert (incident.status, incident.closed_at, change.action, change.told) == ("fixed", "at r4", "fixed", True)


def test_an_acknowledged_incident_is_fixed_like_an_open_one(incident: Incident) -> None:
    known = replace(incident, status="acknowledged", inside=2)
    (after,), _ = go([known], night("r4", quiet()))
    assert after.status == "fixed"


def test_a_night_on_which_it_is_seen_again_begins_the_count_anew(incident: Incident) -> None:
    (after,), _ = go([replace(incident, inside=2)], night("r4", v()))
    assert after.inside == 0


@pytest.mark.parametrize(
    "tonight",
    [
        night("r4", quiet(effect=0.051)),  # its interval lies above nothing
        night("r4", replace(quiet(effect=0.06), lower=-0.05)),  # nearer to what was told than to what it was before
        night("r4", v(word="inconclusive", effect=0.0)),  # the control moved
        night("r4", quiet("throughput")),  # not measured
        night("r4", quiet(), valid=False),
    ],
    ids=["above", "too large", "inconclusive", "not measured", "invalid"],
)
def test_a_night_that_says_nothing_neither_counts_nor_begins_anew(incident: Incident, tonight: Night) -> None:
    (after,), changes = go([replace(incident, inside=2)], tonight)
    assert (after.inside, after.status, changes) == (2, "open", [])


def test_a_run_that_is_counted_already_changes_nothing(incident: Incident) -> None:
    assert go([incident], night("r1", v())) == ([], [])
    fixed = replace(incident, status="fixed", last_run="r4")
    assert go([fixed], night("r4", v())) == ([], [])


def test_a_drift_began_at_its_onset() -> None:
    drift = replace(v(effect=0.04), reason="drift of +0.5 % a night since 2026-11-03")
    (opened,), (change,) = go([], night("r9", drift, onsets={"latency_p95": "at r3"}))
    assert (opened.since, opened.opened_at, change.why) == ("at r3", "at r9", drift.reason)


def test_errors_where_there_were_none_are_fixed_when_they_are_quiet() -> None:
    (opened,), _ = go([], night("r1", v("errors", 10, None)))
    (after,), _ = go([replace(opened, inside=2)], night("r4", v("errors", 10, None, "unchanged")))
    assert after.status == "fixed"


BETTER = [v(effect=-0.1, word="improved"), quiet("throughput")]


def test_the_same_family_better_on_three_nights_running_is_the_new_normal() -> None:
    assert new_normal([BETTER, BETTER, BETTER]) == "latency"
    assert new_normal([[quiet()], BETTER, BETTER, [v("latency_p99", 10, -0.2, "improved")]]) == "latency"


def test_two_nights_a_gap_another_family_or_a_price_elsewhere_are_not() -> None:
    assert new_normal([BETTER, BETTER]) is None
    assert new_normal([BETTER, [quiet()], BETTER]) is None
    assert new_normal([BETTER, BETTER, [v("throughput", None, -0.1, "improved")]]) is None
    assert new_normal([BETTER, BETTER, [*BETTER, v("errors", 10, 2.0)]]) is None
