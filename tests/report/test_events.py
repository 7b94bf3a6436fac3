"""What a run tells others' automations."""

from collections.abc import Callable

from storage.records import Change
from tasks.report.events import events_of
from tasks.report.view import RunView

View = Callable[..., RunView]
OPENED = Change("3", "s-1", "r7", "opened", "gw p95 latency +48 %", "gatebench", "confirmed", "2026-03-08", told=True)
MOVED = Change(None, "s-2", "r7", "new_normal", "better by 12 %", "gatebench", "3 nights", "2026-03-08", told=True)


def test_a_run_says_its_verdict_and_each_incident_it_moved(view: View) -> None:
    events = events_of(view(), [OPENED, MOVED])
    assert [event.name for event in events] == [
        "gatebench.run.regressed",
        "gatebench.regression.opened",
        "gatebench.baseline.moved",
    ]
    assert events[0].payload["headline"].startswith("Regressed: p95 latency at 10 concurrent is 212 ms")
    assert events[0].resource["prefect.resource.id"] == "gatebench.run.r7"
    assert events[1].resource["prefect.resource.id"] == "gatebench.incident.3"
    assert (events[1].payload["what"], events[1].payload["run_id"]) == ("gw p95 latency +48 %", "r7")
    assert events[2].resource["prefect.resource.id"] == "gatebench.segment.s-2"


def test_a_run_that_is_told_again_has_the_same_events(view: View) -> None:
    first, second = events_of(view(), [OPENED]), events_of(view(), [OPENED])
    assert [event.id for event in first] == [event.id for event in second]
    assert len({event.id for event in first}) == 2


def test_a_run_that_was_not_judged_is_measured(view: View) -> None:
    assert [event.name for event in events_of(view(verdict=None, verdicts=[]), [])] == ["gatebench.run.measured"]
    stopped = view(verdict=None, verdicts=[], status="cancelled")
    assert [event.name for event in events_of(stopped, [])] == ["gatebench.run.cancelled"]
