"""A Prefect server with our deployments, and workers, each of which a test may kill."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from deployments.local import environment, unused_port

BIN = Path(sys.executable).parent
PATIENCE_S = 240.0  # a machine that runs much else takes its time


def until(what: str, true: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `true()`; an AssertionError that says `what` where there is none in time."""
    deadline = time.monotonic() + patience_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.25)
    return found


class Prefect:
    """On a port of its own, with its history below `home`, which is also the data root of its worker."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = unused_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GATEBENCH_"))}
        ours = environment(home, self.port)
        self.env = {**kept, **{k: v for k, v in ours.items() if k.startswith(("PREFECT_", "GATEBENCH_", "PYTHON"))}}
        # What the worker says is looked at; a command that ran in this process may have put its own silence here.
        self.env |= {"DO_NOT_TRACK": "1", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", **settings}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
        """`prefect …` in a session of its own; it writes to a log in the data root."""
        with (self.home / "prefect" / f"{words[0]}.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "prefect", *words]
            process = subprocess.Popen(
                command, env={**self.env, **settings}, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def serve(self) -> "subprocess.Popen[bytes]":
        process = self.start("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        until("the server answers", self._answers)
        return process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.env['PREFECT_API_URL']}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def work(self, **settings: str) -> "subprocess.Popen[bytes]":
        return self.start("worker", "start", "--pool", "gatebench", "--type", "process", **settings)

    def gatebench(self, *words: str, home: Path | None = None, **settings: str) -> "subprocess.Popen[str]":
        """A command of ours against this server, in a data root of its own if one is given."""
        env = {**self.env, "GATEBENCH_HOME": str(home or self.home), **settings}
        return subprocess.Popen(
            [str(BIN / "gatebench"), *words], env=env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def ask(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """`work(client)` against the server."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

        async def go() -> Any:
            async with get_client() as client:
                return await work(client)

        ours = {PREFECT_API_URL: self.env["PREFECT_API_URL"],
                PREFECT_API_AUTH_STRING: self.env.get("PREFECT_API_AUTH_STRING")}  # fmt: skip
        with temporary_settings(ours):
            return asyncio.run(go())

    def submit(self, deployment: str, **parameters: Any) -> UUID:
        async def go(client: Any) -> UUID:
            found = await client.read_deployment_by_name(deployment)
            run = await client.create_flow_run_from_deployment(found.id, parameters=parameters)
            return UUID(str(run.id))

        return UUID(str(self.ask(go)))

    def state(self, run: UUID) -> Any:
        async def go(client: Any) -> Any:
            return (await client.read_flow_run(run)).state

        return self.ask(go)

    def ended(self, run: UUID) -> Any:
        """Its state, once it is final."""
        return until("the run ends", lambda: (state := self.state(run)).is_final() and state)

    def set_state(self, run: UUID, state: Any) -> None:
        async def go(client: Any) -> None:
            await client.set_flow_run_state(run, state, force=True)

        self.ask(go)

    def taken(self) -> dict[str, int]:
        """Slots of ours that are held, by the name of their limit."""

        async def go(client: Any) -> dict[str, int]:
            found = await client.read_global_concurrency_limits(limit=100)
            return {one.name: one.active_slots for one in found if one.name.startswith("bench-")}

        return dict(self.ask(go))

    def stop(self) -> None:
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        for pid in flows_of(self.home):
            kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def flows_of(home: Path) -> list[int]:
    """Processes that run a flow with this data root."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                settings = (folder / "environ").read_bytes().split(b"\0")
                ours = b"prefect" in command and f"GATEBENCH_HOME={home}".encode() in settings
                if ours and any(line.startswith(b"PREFECT__FLOW_RUN_ID=") for line in settings):
                    found.append(int(folder.name))
    return sorted(found)
