"""automations.yaml -> the server's automations, and the notification block through which they speak."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.clients import get_events_client
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.events.schemas.events import Event
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from deployments.change import Change

FILE = Path(__file__).parent / "automations.yaml"
BLOCK = "gatebench-alerts"
NO_NIGHT = "gatebench: no night"
NOBODY = "nobody to tell: set GATEBENCH_ALERT_URLS and deploy again"


def read(file: Path = FILE) -> list[dict[str, Any]]:
    """The automations of the file. Lists within the lists of events are laid flat."""
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["automations"]
    for entry in found:
        for name in ("after", "expect"):
            if name in entry["trigger"]:
                entry["trigger"][name] = list(_flat(entry["trigger"][name]))
    return found


def _flat(events: Sequence[Any]) -> list[str]:
    return [name for event in events for name in (event if isinstance(event, list) else [event])]


async def apply(
    client: PrefectClient, channels: Sequence[str], no_night_h: float | None = None, reset: bool = False
) -> list[Change]:
    """`channels`: addresses in Apprise's notation; none: the block that the server has, if any. `no_night_h`: hours
    without a completed night after which somebody is told; None: as the server has it, else as the file says."""
    block, changes = await _block(client, channels)
    for entry in read():
        held = next(iter(await client.read_automations_by_name(entry["name"])), None)
        if block is None and _speaks(entry):
            changes.append(Change(f"automation {entry['name']}", "left out", (NOBODY,)))
            continue
        within = None if no_night_h is None else timedelta(hours=no_night_h)
        changes.append(await _apply(client, held, wanted(entry, block, held, within, reset), reset))
    return changes


def wanted(
    entry: Mapping[str, Any],
    block: UUID | None,
    held: AutomationCore | None,
    no_night: timedelta | None = None,
    reset: bool = False,
) -> AutomationCore:
    """The automation, with the block that it speaks through, as it is to be on the server. Pure."""
    trigger = dict(entry["trigger"])
    if entry["name"] == NO_NIGHT:
        if no_night is not None:
            trigger["within"] = no_night
        elif held is not None and isinstance(held.trigger, EventTrigger) and not reset:
            trigger["within"] = held.trigger.within
    actions = [{**a, "block_document_id": block} if a["type"] == "send-notification" else a for a in entry["actions"]]
    enabled = held.enabled if held is not None and not reset else True
    made = {"name": entry["name"], "description": entry["description"], "tags": ["gatebench"], "enabled": enabled}
    return AutomationCore.model_validate({**made, "trigger": trigger, "actions": actions})


def _speaks(entry: Mapping[str, Any]) -> bool:
    return any(action["type"] == "send-notification" for action in entry["actions"])


async def _apply(client: PrefectClient, held: Automation | None, want: AutomationCore, reset: bool) -> Change:
    what = f"automation {want.name}"
    if held is None:
        await client.create_automation(want)
        return Change(what, "created")
    fields = tuple(
        name
        for name in ("description", "tags", "enabled", "trigger", "actions")
        if getattr(held, name) != getattr(want, name)
    )
    if not fields:
        return Change(what, "unchanged")
    await client.update_automation(held.id, want)
    return Change(what, "changed", fields)


async def _block(client: PrefectClient, channels: Sequence[str]) -> tuple[UUID | None, list[Change]]:
    """The notification block and what became of it. One that somebody made by hand, of whatever kind, is as good."""
    what = f"notification block {BLOCK}"
    held = [block for block in await client.read_block_documents() if block.name == BLOCK]
    if not channels:
        return (held[0].id, [Change(what, "unchanged")]) if held else (None, [])
    # Prefect has no block for Apprise as such. This one hands its address to Apprise, and one address may be several.
    block = SlackWebhook(url=SecretStr(", ".join(channels)), notify_type="warning")
    try:
        before = await client.read_block_document_by_name(BLOCK, SlackWebhook.get_block_type_slug())
    except ObjectNotFound:
        return await block.asave(BLOCK, client=client), [Change(what, "created")]
    if before.data.get("url") == block.url.get_secret_value():
        return before.id, [Change(what, "unchanged")]
    return await block.asave(BLOCK, overwrite=True, client=client), [Change(what, "changed", ("addresses",))]


async def expect_nights(nights: Mapping[UUID, str]) -> None:
    """Begin to wait for the next completed night of these deployments, where nobody waits yet."""
    async with get_events_client() as events:
        for deployment, name in nights.items():
            await events.emit(deployed(deployment, name))


def deployed(deployment: UUID, name: str) -> Event:
    where = f"prefect.deployment.{deployment}"
    return Event(
        event="gatebench.deployed",
        id=uuid4(),
        resource={"prefect.resource.id": where, "prefect.resource.name": name},
        related=[
            {"prefect.resource.id": where, "prefect.resource.role": "deployment", "prefect.resource.name": name},
            {"prefect.resource.id": "prefect.tag.nightly", "prefect.resource.role": "tag"},
        ],
    )
