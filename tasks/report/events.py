"""What a run tells others' automations: one event for its verdict, one for each incident that it moved. Pure."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.records import Change
from tasks.report.headline import headline
from tasks.report.view import RunView

INCIDENTS = {
    "opened": "gatebench.regression.opened",
    "joined": "gatebench.regression.spread",
    "grew": "gatebench.regression.grew",
    "fixed": "gatebench.regression.fixed",
    "accepted": "gatebench.regression.accepted",
    "new_normal": "gatebench.baseline.moved",
}


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is the same however often a run is told, so that a server keeps it once."""

    name: str
    resource: dict[str, str]
    payload: dict[str, Any]
    id: uuid.UUID


def events_of(view: RunView, changes: Sequence[Change]) -> list[Event]:
    """`changes`: those of this run. Names: gatebench.run.regressed …, gatebench.regression.opened …"""
    run = view.run
    about = {"run_id": run.run_id, "flow": run.flow, "plan": run.plan_name}
    said = run.verdict or ("measured" if run.status == "completed" else run.status)
    payload = {**about, "headline": headline(view), "exit_code": run.exit_code, "report": run.report}
    resource = {"prefect.resource.id": f"gatebench.run.{run.run_id}", "prefect.resource.name": run.run_id}
    found = [_event(f"gatebench.run.{said}", resource, payload, run.run_id)]
    for change in changes:
        name = INCIDENTS.get(change.action)
        if name is None:
            continue
        what = f"incident.{change.incident_id}" if change.incident_id is not None else f"segment.{change.segment_id}"
        resource = {"prefect.resource.id": f"gatebench.{what}", "prefect.resource.name": change.what}
        more = {"incident": change.incident_id, "segment": change.segment_id, "what": change.what, "why": change.why}
        found.append(_event(name, resource, {**about, **more}, f"{run.run_id}/{what}"))
    return found


def _event(name: str, resource: dict[str, str], payload: dict[str, Any], once: str) -> Event:
    return Event(name, resource, payload, uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{once}"))
