"""One measurement at a time on this machine: a lock in the data root, in which its holder says who it is."""

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from storage.disk import keep_private, make_folder
from storage.errors import Busy
from storage.store import wall_clock

POLL_S = 1.0
Say = Callable[[str], None]


class HostLock:
    """`bench.lock`, held. What is told of it is read by whoever waits for it, and by whoever comes after a crash."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.left = _read(handle)  # what the last holder has not taken back; {}: it ended in good order
        self._facts: dict[str, Any] = {}

    def tell(self, **facts: Any) -> None:
        """Add facts about the holder, or change them; None takes one back."""
        self._facts = {name: value for name, value in {**self._facts, **facts}.items() if value is not None}
        self._write(self._facts)

    def clear(self) -> None:
        """The holder ends. A lease that it could not give back stays, for the next one to give back."""
        self._write({name: value for name, value in self._facts.items() if name == "lease"})

    def _write(self, facts: dict[str, Any]) -> None:
        text = json.dumps(facts).encode() if facts else b""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text, 0)


@contextlib.asynccontextmanager
async def only_one(
    home: Path,
    who: str,
    say: Say,
    wait_s: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[HostLock]:
    """Two benchmarks on one machine spoil each other: hold `bench.lock` of the data root while one runs.

    Waits up to `wait_s` and says for whom. Raises Busy after that. What is written from here on is for this user alone.
    """
    keep_private()
    file = make_folder(home) / "bench.lock"
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        waited = 0.0
        while not _taken(handle):
            if not waited:
                say(f"waiting for {holder(_read(handle))}, which measures on this machine; {minutes(wait_s)} at most")
            if waited >= wait_s:
                raise Busy(
                    f"{holder(_read(handle))} still measures on this machine after {minutes(wait_s)} of waiting; "
                    "let it end, or give GATEBENCH_RUN_WAIT_S more seconds"
                )
            await sleep(min(POLL_S, wait_s - waited))
            waited += POLL_S
        lock = HostLock(handle)
        lock.tell(who=who, pid=os.getpid(), since=wall_clock())
        try:
            yield lock
        finally:
            lock.clear()
    finally:
        os.close(handle)


def holder(facts: dict[str, Any]) -> str:
    """`nightly my-gateway (20261124T033000Z-nightly-4f3a, process 4711, since 03:30:00 UTC)`."""
    if "who" not in facts:
        return "another run"
    known = [
        facts.get("run"),
        f"process {facts['pid']}" if "pid" in facts else None,
        f"since {facts['since'][11:19]} UTC" if "since" in facts else None,
    ]
    return f"{facts['who']} ({', '.join(str(fact) for fact in known if fact is not None)})"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _read(handle: int) -> dict[str, Any]:
    """{} where nobody has said anything, or not yet to its end."""
    try:
        found = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
