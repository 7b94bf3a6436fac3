"""The progress of a run on its page, as long as there is a Prefect server to show it: a measurement waits for none."""

import asyncio
from uuid import UUID

import httpx
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import PrefectException

PATIENCE_S = 5.0
AWAY = (httpx.HTTPError, PrefectException, TimeoutError, OSError, RuntimeError)  # the last: "Failed to reach API"


class Bar:
    """A progress artifact; `artifact` None: the server did not answer once, and is asked no more."""

    def __init__(self, artifact: UUID | None) -> None:
        self._artifact = artifact

    @classmethod
    async def begin(cls, description: str) -> "Bar":
        try:
            async with asyncio.timeout(PATIENCE_S):
                return cls(await acreate_progress_artifact(0.0, key="gatebench-progress", description=description))
        except AWAY:
            return cls(None)

    async def show(self, percent: float) -> None:
        if self._artifact is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await aupdate_progress_artifact(self._artifact, progress=percent)
        except AWAY:
            self._artifact = None
