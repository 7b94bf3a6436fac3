"""One leg in a worker process of its own: no Prefect, no other threads, a frozen collector.

The worker lives as long as the run. The seam for more of them is the executor: anything that is a
`concurrent.futures.Executor` and can run `_run` on a LegSpec.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from storage.errors import GatebenchError
from storage.records import Leg
from tasks.load.spec import LegSpec


class WorkerDied(GatebenchError):
    """The worker process ended in the middle of a leg; the rows it had flushed are on disk."""


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _warm() -> int:
    import tasks.load.leg  # noqa: F401, PLC0415 - imported here so that the first leg does not wait for it

    return os.getpid()


def _run(spec: LegSpec) -> Leg:
    from tasks.load.leg import run  # noqa: PLC0415 - see _warm

    return run(spec)


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


class Fleet:
    """`async with Fleet() as fleet: leg = await fleet.run(spec)`; one leg at a time."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    async def __aenter__(self) -> "Fleet":
        await self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    async def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
        with _environment("POLARS_MAX_THREADS", "1"):  # writing samples must not take every core
            warming = self._executor.submit(_warm)  # the process is made here and inherits it
        self._pid = await asyncio.wrap_future(warming)

    async def run(self, spec: LegSpec) -> Leg:
        """The leg's result. Raises what the leg raised, or WorkerDied; cancelling stops the leg and keeps its rows."""
        if self._executor is None:
            await self._start()
        assert self._executor is not None
        try:
            future = self._executor.submit(_run, spec)
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            await self._interrupt(future)
            raise
        except BrokenProcessPool:
            self.stop()
            raise WorkerDied(
                f"the load worker died in leg {spec.leg_id}; rows up to its last second are in {spec.folder}"
            ) from None

    async def _interrupt(self, future: "Future[Leg]") -> None:
        """Ask the worker to end its leg, and wait until it has."""
        self._signal()
        try:
            with contextlib.suppress(asyncio.TimeoutError, GatebenchError, asyncio.CancelledError):
                await asyncio.wait_for(asyncio.wrap_future(future), timeout=5)
        except BrokenProcessPool:  # it was not yet, or no longer, in the leg
            self.stop()

    def _signal(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._pid = None
