"""Work pool and deployments on a Prefect server. Applying them twice changes nothing."""

import importlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.callables import ParameterSchema

from deployments import shipped
from deployments.change import Change
from deployments.form import labelled
from deployments.shipped import Entry


async def apply(client: PrefectClient, entries: Sequence[Entry], reset: bool = False) -> list[Change]:
    """Make the server as the entries say. Nights of single targets that it has besides are brought up to date too; with
    `reset` they are removed, and what an operator has set does not count."""
    others = [d for d in await _tagged(client, "per-target") if d.name not in {entry["name"] for entry in entries}]
    if not reset:
        common = next(entry for entry in entries if entry["name"] == "nightly")
        entries = [*entries, *(shipped.night_of(common, d.parameters["target"]) for d in others)]
    changes = [await _pool(client, name) for name in dict.fromkeys(e["work_pool"]["name"] for e in entries)]
    changes += [await _deployment(client, entry, reset) for entry in entries]
    for deployment in others if reset else []:
        await client.delete_deployment(deployment.id)
        changes.append(Change(f"nightly/{deployment.name}", "removed"))
    return changes


async def nights(client: PrefectClient) -> dict[UUID, str]:
    """Deployments that measure a night by themselves, and their names."""
    found = await _tagged(client, "nightly")
    return {d.id: d.name for d in found if not d.paused and any(s.active for s in d.schedules)}


async def _pool(client: PrefectClient, name: str) -> Change:
    """One run at a time. A worker that was there first has made the pool without a limit."""
    what = f"work pool {name}"
    try:
        found = await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=1))
        return Change(what, "created")
    if found.concurrency_limit is not None:
        return Change(what, "unchanged")
    await client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=1))
    return Change(what, "changed", ("concurrency limit",))


async def _deployment(client: PrefectClient, entry: Entry, reset: bool) -> Change:
    flow = _flow(entry["entrypoint"])
    what = f"{flow.name}/{entry['name']}"
    before = await _read(client, what)
    want = shipped.wanted(entry, before, list(flow.parameters.properties), reset)
    limit = entry.get("concurrency_limit")
    deployment = await flow.ato_deployment(
        name=entry["name"],
        schedules=shipped.for_prefect(want.schedules or []),
        parameters=want.parameters,
        description=entry["description"].strip(),
        tags=want.tags,
        work_pool_name=entry["work_pool"]["name"],
        job_variables=want.job_variables,
        # A second run waits for the first: cancelling it would lose a night.
        concurrency_limit=ConcurrencyLimitConfig(limit=limit, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
        if limit is not None
        else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    form = labelled(deployment._parameter_openapi_schema.model_dump(exclude_unset=True))
    deployment._parameter_openapi_schema = ParameterSchema.model_validate(form)
    if before is None:
        await deployment.aapply()
        return Change(what, "created")
    fields = _differences(before, deployment, limit, want.schedules)
    if not fields:
        return Change(what, "unchanged")
    deployment.paused = False if reset else before.paused
    await deployment.aapply()
    return Change(what, "changed", fields)


async def _tagged(client: PrefectClient, tag: str) -> list[DeploymentResponse]:
    """Ours that have this tag."""
    both = DeploymentFilterTags(all_=["gatebench", tag])
    return await client.read_deployments(deployment_filter=DeploymentFilter(tags=both), limit=200)


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.partition(":")
    found: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return found


async def _read(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _differences(
    before: DeploymentResponse, now: RunnerDeployment, limit: int | None, schedules: list[dict[str, Any]] | None
) -> tuple[str, ...]:
    """In what the server's deployment is not what `now` would make it. `schedules` None: they stay."""
    limits = before.global_concurrency_limit
    held = shipped.crons(before)
    pairs = {
        "schedule": (held, held if schedules is None else schedules),
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
