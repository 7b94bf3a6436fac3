"""A target's key where the environment has none: from a Secret block of the Prefect server."""

import os

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL


def block_of(variable: str) -> str:
    """The Secret block that stands for a variable: `gatebench-key-openai` for GATEBENCH_KEY_OPENAI. Only the names that
    a plan may give have one, so that nobody can have any other block sent to a target."""
    return variable.lower().replace("_", "-")


async def fetch_key(variable: str) -> bool:
    """Put the key into the environment of this process, where the load workers that it starts find it too. False: there
    is no such block, or no server to ask."""
    if PREFECT_API_URL.value() is None:
        return False
    try:
        block: Secret[str] = await Secret.aload(block_of(variable))
    except (ValueError, RuntimeError, httpx.HTTPError, PrefectException):
        return False
    os.environ[variable] = str(block.get())
    return True
