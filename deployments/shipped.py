"""prefect.yaml, what the command line says, and what an operator has set on the server -> what a deployment is to be.

The command line wins over the server, the server over the file: an operator's plan, schedule or switch outlives every
`gatebench deploy` that does not speak of it. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from storage.errors import UsageError

FILE = Path(__file__).parent / "prefect.yaml"
NIGHTS = ("nightly", "weekly-long")
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says. None: nothing."""

    plan: str | None = None  # absolute path
    cron: str | None = None
    timezone: str | None = None
    targets: tuple[str, ...] = ()  # of the plan, each to be measured by a deployment of its own
    reset: bool = False  # what was set on the server does not count


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one deployment, the parts that an operator may have a say in. `schedules` None: as they are."""

    parameters: dict[str, Any]
    schedules: list[dict[str, Any]] | None  # cron, timezone, active
    tags: list[str]
    job_variables: dict[str, Any]


def read(file: Path = FILE) -> list[Entry]:
    """The deployments of the file."""
    found: list[Entry] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return found


def ask(entries: Sequence[Entry], asked: Asked) -> list[Entry]:
    """The entries, under `asked` what the command line says of each: the plan goes to all nights, the schedule to the
    nightly ones. With targets there is a night for each, and the common one is switched off. Raises UsageError."""
    found = []
    for entry in entries:
        nightly = entry["name"] == "nightly"
        parameters = {"plan": asked.plan} if asked.plan is not None and entry["name"] in NIGHTS else {}
        when = {k: v for k, v in {"cron": asked.cron, "timezone": asked.timezone}.items() if nightly and v is not None}
        for schedule in entry.get("schedules", []):
            _cron({**schedule, **when})
        asks = {"parameters": parameters, "schedule": when}
        mine = [night_of({**entry, "asked": asks}, target) for target in asked.targets] if nightly else []
        found += [{**entry, "asked": {**asks, "schedule": {**when, "active": False}} if mine else asks}, *mine]
    return found


def night_of(entry: Entry, target: str) -> Entry:
    """The night of one target: the common one under another name, with what is asked of that one."""
    asked = entry["asked"]
    when = {k: v for k, v in asked["schedule"].items() if k != "active"}
    return {
        **entry,
        "name": f"nightly-{_slug(target)}",
        "tags": [*entry["tags"], "per-target"],
        "description": f"{entry['description']}\nOf the plan's targets it measures **{target}** only.\n",
        "asked": {"parameters": {**asked["parameters"], "target": target}, "schedule": when},
    }


def wanted(entry: Entry, before: DeploymentResponse | None, known: Sequence[str], reset: bool = False) -> Wanted:
    """`known`: parameters of the flow; others that the server still has are let go."""
    asked = entry.get("asked", {})
    held = None if reset else before
    kept = {} if held is None else {k: v for k, v in held.parameters.items() if k in known}
    shipped = entry["work_pool"]["job_variables"]
    variables = {} if held is None else held.job_variables
    return Wanted(
        parameters={**entry["parameters"], **kept, **asked.get("parameters", {})},
        schedules=_schedules(entry.get("schedules", []), held, asked.get("schedule", {})),
        tags=list(dict.fromkeys([*entry["tags"], *(held.tags if held is not None else ())])),
        job_variables={**variables, **shipped, "env": {**(variables.get("env") or {}), **shipped["env"]}},
    )


def _schedules(
    shipped: Sequence[Mapping[str, Any]], held: DeploymentResponse | None, asked: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    if held is not None and not asked:
        return None
    base = [{"active": True, **schedule} for schedule in shipped]
    if held is not None:
        base = crons(held) or base
    return [{**schedule, **asked} for schedule in base]


def crons(deployment: DeploymentResponse) -> list[dict[str, Any]]:
    """The cron schedules that the server has."""
    return [
        {"active": held.active, "cron": held.schedule.cron, "timezone": held.schedule.timezone}
        for held in deployment.schedules
        if isinstance(held.schedule, CronSchedule)
    ]


def for_prefect(schedules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As Prefect takes them. Raises UsageError."""
    return [{"schedule": _cron(schedule), "active": schedule["active"]} for schedule in schedules]


def _cron(schedule: Mapping[str, Any]) -> CronSchedule:
    try:
        return CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--cron and --timezone are like '30 3 * * *' and Europe/Berlin: {said}") from None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "target"
