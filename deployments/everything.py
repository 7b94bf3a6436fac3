"""All that `gatebench deploy` and `gatebench up` put on a Prefect server."""

from collections.abc import Sequence

from prefect.client.orchestration import get_client

from deployments import apply as deployments
from deployments import automations
from deployments.change import Change
from deployments.shipped import Asked, ask, read


async def apply(asked: Asked, channels: Sequence[str], no_night_h: float | None = None) -> list[Change]:
    """Work pool, deployments, notification block, automations. `channels`: addresses in Apprise's notation;
    `no_night_h`: hours after which a missing night is told. Raises UsageError for a cron that is none."""
    entries = ask(read(), asked)
    async with get_client() as client:
        changes = await deployments.apply(client, entries, asked.reset)
        changes += await automations.apply(client, channels, no_night_h, asked.reset)
        await automations.expect_nights(await deployments.nights(client))
    return changes
