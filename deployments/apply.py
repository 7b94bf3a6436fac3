"""prefect.yaml -> a Prefect server: the work pool and every deployment. Applying it twice changes nothing."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from storage.errors import UsageError

FILE = Path(__file__).parent / "prefect.yaml"


@dataclass(frozen=True, slots=True)
class Change:
    what: str
    how: str  # created | changed | unchanged
    fields: tuple[str, ...] = ()  # of a changed deployment, which


def read(file: Path = FILE) -> list[dict[str, Any]]:
    """The deployments of the file."""
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return found


def with_plan(
    wanted: Sequence[dict[str, Any]], plan: str | None, cron: str | None, timezone: str | None
) -> list[dict[str, Any]]:
    """The nightly deployment with another plan or schedule; the rest as it is. Raises UsageError."""
    changed = []
    for entry in wanted:
        mine = dict(entry)
        if mine["name"] == "nightly":
            if plan is not None:
                mine["parameters"] = {**mine["parameters"], "plan": plan}
            schedule = dict(mine["schedules"][0])
            schedule.update({k: v for k, v in {"cron": cron, "timezone": timezone}.items() if v is not None})
            _cron(schedule)
            mine["schedules"] = [schedule]
        changed.append(mine)
    return changed


def _cron(schedule: Mapping[str, str]) -> CronSchedule:
    try:
        return CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--cron and --timezone are like '30 3 * * *' and Europe/Berlin: {said}") from None


async def apply(wanted: Sequence[dict[str, Any]]) -> list[Change]:
    """Make the server as the entries say."""
    async with get_client() as client:
        changes = [await _pool(client, name) for name in dict.fromkeys(e["work_pool"]["name"] for e in wanted)]
        for entry in wanted:
            changes.append(await _deployment(client, entry))
    return changes


async def _pool(client: PrefectClient, name: str) -> Change:
    try:
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=1))
    except ObjectAlreadyExists:
        return Change(f"work pool {name}", "unchanged")
    return Change(f"work pool {name}", "created")


async def _deployment(client: PrefectClient, entry: dict[str, Any]) -> Change:
    flow = _flow(entry["entrypoint"])
    what = f"{flow.name}/{entry['name']}"
    before = await _read(client, what)
    limit = entry.get("concurrency_limit")
    deployment = await flow.ato_deployment(
        name=entry["name"],
        schedules=[_cron(schedule) for schedule in entry.get("schedules", [])],
        parameters=entry["parameters"],
        description=entry["description"],
        tags=entry["tags"],
        work_pool_name=entry["work_pool"]["name"],
        job_variables=entry["work_pool"]["job_variables"],
        # A second run waits for the first: cancelling it would lose a night.
        concurrency_limit=ConcurrencyLimitConfig(limit=limit, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
        if limit is not None
        else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    if before is None:
        await deployment.aapply()
        return Change(what, "created")
    fields = _differences(before, deployment, limit)
    if not fields:
        return Change(what, "unchanged")
    await deployment.aapply()
    return Change(what, "changed", fields)


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.partition(":")
    found: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return found


async def _read(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _differences(before: DeploymentResponse, now: Any, limit: int | None) -> tuple[str, ...]:
    """In what the server's deployment is not what `now` would make it."""
    limits = before.global_concurrency_limit
    held = [(s.schedule.cron, s.schedule.timezone) for s in before.schedules if isinstance(s.schedule, CronSchedule)]
    pairs = {
        "schedule": (held, [(s.schedule.cron, s.schedule.timezone) for s in now.schedules or []]),
        "concurrency limit": (limits.limit if limits is not None else None, limit),
        "parameters": (before.parameters, now.parameters),
        "description": (before.description, now.description),
        "tags": (set(before.tags), set(now.tags)),
        "work pool": (before.work_pool_name, now.work_pool_name),
        "job variables": (before.job_variables, now.job_variables),
        "entry point": (before.entrypoint, now.entrypoint),
        "form": (before.parameter_openapi_schema, now._parameter_openapi_schema.model_dump(exclude_unset=True)),
    }
    return tuple(name for name, (old, new) in pairs.items() if old != new)
