"""`gatebench up` in a folder of its own, and a client of it: for tests on a real server."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.local import auth_string, unused_port

GATEBENCH = str(Path(sys.executable).parent / "gatebench")


@dataclass(frozen=True)
class House:
    api: str
    home: Path
    process: "subprocess.Popen[str]"
    said: list[str]  # by `up`, to its last line

    def ask(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """`work(client)` against the server."""
        return ask(self.api, auth_string(self.home / "prefect"), work)

    def gatebench(self, *words: str, env: Mapping[str, str] = {}) -> "subprocess.CompletedProcess[str]":
        """A command of the same data root, for this server."""
        every = {**bare(), "PREFECT_API_URL": self.api, "GATEBENCH_HOME": str(self.home), **env}
        return subprocess.run([GATEBENCH, *words], env=every, capture_output=True, text=True, check=False)


def bare() -> dict[str, str]:
    """The environment without what is ours or Prefect's."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GATEBENCH_"))}


@contextlib.contextmanager
def up(folder: Path, *options: str, env: Mapping[str, str] = {}) -> Iterator[House]:
    """`gatebench up` at work in `folder`, ended with the block."""
    home, port = folder / "home", unused_port()
    command = [GATEBENCH, "up", "--port", str(port), "--home", str(home), *options]
    process = subprocess.Popen(
        command, cwd=folder, env={**bare(), **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        while not said or "Ctrl-C stops all of it" not in said[-1]:
            line = process.stdout.readline()
            assert line, f"gatebench up ended: {said}"
            said.append(line.rstrip())
        yield House(f"http://127.0.0.1:{port}/api", home, process, said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def ask(api: str, auth: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """`work(client)` against a server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    async def go() -> Any:
        async with get_client() as client:
            return await work(client)

    with temporary_settings({PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: auth}):
        return asyncio.run(go())


def until(found: Callable[[], Any], why: str, seconds: float = 90) -> Any:
    """The first true value of `found()`, asked twice a second."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, why
        time.sleep(0.5)
