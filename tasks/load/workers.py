"""A worker is an executor with one process behind it. These are processes of this machine; `cluster.py` has others.

Each has an executor of its own, for a pool of several is broken as a whole when one of its processes dies.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol

from storage.errors import GatebenchError, UsageError
from tasks.load.clock import Offset, difference


class WorkerDied(GatebenchError):
    """A worker process ended where it should not; the rows it had flushed are on disk."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says of itself."""

    pid: int
    boot_id: str | None  # the same on one machine until it is started anew; None: not on Linux
    version: str
    has_key: bool


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    executor: Executor
    hello: Hello
    interrupt: Callable[[], None]  # stop what it measures; may block
    alive: Callable[[], bool]  # may block
    near: bool = True  # shares our clock

    def clock(self) -> Offset:
        """Its monotonic clock against ours. Blocks for some round trips where it is another one."""
        return Offset(0, 0) if self.near else difference(lambda: self.executor.submit(perf_counter_ns).result())


class Crew(Protocol):
    """Where workers come from."""

    most: int | None  # how many `auto` may take at most; None: as many as there are

    def have(self, count: int, key_env: str) -> list[Worker]:
        """`count` live workers, or as many as there are; blocks. Raises GatebenchError where there is none."""

    def drop(self, worker: Worker, stuck: bool = False) -> None:
        """It is dead, or will not end by itself."""

    def close(self) -> None: ...


def hello(key_env: str) -> Hello:
    """Runs in the worker; imports there what a leg needs, so that the first one does not wait for it."""
    import tasks.load.shard  # noqa: F401, PLC0415 - see above

    return Hello(os.getpid(), boot_id(), own_version(), bool(key_env and os.environ.get(key_env)))


def boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def own_version() -> str:
    try:
        return version("gatebench")
    except PackageNotFoundError:
        return "source"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends a leg; one that comes just after must not end the worker
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Processes:
    """Spawned processes of this machine: no Prefect, no other threads; they live as long as the run."""

    def __init__(self) -> None:
        self.most: int | None = cores()
        self._workers: list[Worker] = []

    def have(self, count: int, key_env: str) -> list[Worker]:
        while len(self._workers) < count:
            self._workers.append(_spawn(key_env))
        return self._workers[:count]

    def drop(self, worker: Worker, stuck: bool = False) -> None:
        if not any(one is worker for one in self._workers):  # another crew's
            return
        worker.executor.shutdown(wait=False, cancel_futures=True)
        if stuck:
            os.kill(worker.hello.pid, signal.SIGKILL)  # it has not answered, so its process is there
        self._workers = [one for one in self._workers if one is not worker]

    def close(self) -> None:
        for worker in list(self._workers):
            self.drop(worker)
            worker.interrupt()  # one that is still in a leg keeps its rows and ends


def _spawn(key_env: str) -> Worker:
    executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        with _environment("POLARS_MAX_THREADS", "1"):  # writing samples must not take every core
            future = executor.submit(hello, key_env)  # the process is made here and inherits it
        said = future.result()
    except (BrokenProcessPool, OSError) as error:
        executor.shutdown(wait=False, cancel_futures=True)
        raise WorkerDied(f"a load worker cannot be started: {error}; is there memory and a process left?") from None

    def interrupt() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(said.pid, signal.SIGTERM)

    return Worker(f"process {said.pid}", executor, said, interrupt, alive=lambda: runs(said.pid))


def runs(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether the process is there and no zombie; True where nobody can tell. An executor whose worker was killed while
    it handed over its result waits for the rest of it, and does not notice."""
    if not proc.is_dir():
        return True
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def check(worker: str, said: Hello, key_env: str) -> None:
    """A worker of another machine must be one that measures the same and may ask the target. Raises UsageError."""
    if said.version != own_version():
        raise UsageError(
            f"worker {worker} has gatebench {said.version}, this is {own_version()}: install the same version there"
        )
    if key_env and os.environ.get(key_env) and not said.has_key:
        raise UsageError(f"worker {worker} has no {key_env} in its environment: start it with the key of the target")
