"""What the server watches, before any server sees it."""

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.server.events.schemas.automations import AutomationCore as OnServer

from deployments.automations import NO_NIGHT, deployed, read, wanted
from flows.aftermath import TOLD
from storage.records import Word

BLOCK = UUID(int=7)
FLOWS = Path(__file__).parents[2] / "flows"


def trigger(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in read() if entry["name"] == name)["trigger"]
    return found


def endings() -> set[str]:
    """Names of completed states in the flows' source, and the words that a verdict may be."""
    calls = [
        node
        for file in FLOWS.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Completed"
    ]
    names = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "name"]
    literals = {n.value for name in names for n in ast.walk(name) if isinstance(n, ast.Constant)}
    return {str(text) for text in literals} | {word.value.capitalize() for word in Word} | {"Completed"}


def test_every_way_in_which_a_night_may_complete_ends_both_watches():
    assert "Measured" in endings()
    events = {f"prefect.flow-run.{name}" for name in endings()}
    assert events <= set(trigger("gatebench: heartbeat lost")["expect"])
    assert events == set(trigger(NO_NIGHT)["expect"])


def test_a_heartbeat_is_waited_for_ten_times_as_long_as_it_takes():
    lost = trigger("gatebench: heartbeat lost")
    assert (lost["within"], lost["after"]) == (300, ["prefect.flow-run.heartbeat"])


def test_the_server_takes_every_automation_and_those_that_speak_do_it_through_the_block():
    for entry in read():
        made = wanted(entry, BLOCK, None)
        OnServer.model_validate(made.model_dump(mode="json"))  # its templates too
        blocks = [action.block_document_id for action in made.actions if action.type == "send-notification"]
        assert blocks == [BLOCK] * len(blocks)
        assert made.enabled


def test_hours_that_were_set_and_a_switch_stay_unless_they_are_asked_for():
    entry = next(entry for entry in read() if entry["name"] == NO_NIGHT)
    held = wanted(entry, BLOCK, None, timedelta(hours=50)).model_copy(update={"enabled": False})
    assert wanted(entry, BLOCK, held).trigger.within == timedelta(hours=50)
    assert wanted(entry, BLOCK, held, timedelta(hours=30)).trigger.within == timedelta(hours=30)
    assert wanted(entry, BLOCK, held, reset=True).trigger.within == timedelta(hours=26)
    assert (wanted(entry, BLOCK, held).enabled, wanted(entry, BLOCK, held, reset=True).enabled) == (False, True)


def test_the_server_waits_for_what_the_worker_says_once_it_has_told():
    trigger_ = trigger("gatebench: failed or crashed")
    assert (trigger_["expect"], trigger_["within"]) == ([TOLD], 60)


def test_a_deployment_begins_the_wait_for_its_first_night():
    event = deployed(UUID(int=3), "nightly")
    assert event.event in trigger(NO_NIGHT)["after"]
    match = trigger(NO_NIGHT)["match_related"]
    assert any(all(related.get(k) == v for k, v in match.items()) for related in event.related)
    assert [r.id for r in event.related if r.role == "deployment"] == [f"prefect.deployment.{UUID(int=3)}"]
