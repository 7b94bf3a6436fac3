"""One leg over some workers: how many, what each may spend, one agreed start, and what becomes of a lost one.

The seam is the executor: a worker is any `concurrent.futures.Executor` with one process behind it (see workers.py).
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from storage.records import Leg
from tasks.load import leg as whole
from tasks.load import shard
from tasks.load.clock import Offset
from tasks.load.leg import Lost
from tasks.load.shard import Done, Ready
from tasks.load.spec import LegSpec
from tasks.load.stripes import at_most, split, wanted
from tasks.load.workers import Crew, Processes, Worker, WorkerDied

__all__ = ["Fleet", "WorkerDied"]

T = TypeVar("T")
_LEAD_NS = 150_000_000  # from the choice of a common start to the start
_FAR_LEAD_NS = 500_000_000  # the same, where a scheduler is between us and the workers
_LOOK_S = 0.5  # how often a worker is looked for that may be gone without its executor knowing


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(slots=True)
class _Hand:
    """A worker with its part of the leg at hand."""

    worker: Worker
    spec: LegSpec
    clock: Offset
    ready: Ready
    future: "Future[Done] | None" = None
    gone: str | None = None  # why it was lost
    stuck: bool = False  # lost although its process lives
    error: Exception | None = None


_Tasks = dict["asyncio.Task[bool]", _Hand]


class Fleet:
    """`async with Fleet() as fleet: leg = await fleet.run(spec)`; one leg at a time.

    `workers` None: auto. `connect` makes the crew of other machines; a leg at a loopback address is not for them, but
    for those of them on this machine and else for `home`, by default processes made for it. `end_s`: how long an
    interrupted worker may take to end.
    """

    def __init__(
        self,
        workers: int | None = None,
        connect: Callable[[], Crew] | None = None,
        home: Crew | None = None,
        end_s: float = 5.0,
    ) -> None:
        self._asked = workers
        self._end_s = end_s
        self._connect = connect
        self._home: Crew = Processes() if home is None else home
        self._away: Crew | None = None

    async def __aenter__(self) -> "Fleet":
        if self._connect is not None:
            self._away = await asyncio.to_thread(self._connect)
        else:
            await asyncio.to_thread(self._home.have, 1, "")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        for crew in (self._home, self._away):
            if crew is not None:
                crew.close()

    async def run(self, spec: LegSpec) -> Leg:
        """The leg's result; its rows and `leg.json` are on disk then. A lost worker makes it invalid and stops the
        others. Raises what the leg raised, or WorkerDied where no worker is left; cancelling stops the leg and keeps
        its rows."""
        whole.make_folder(Path(spec.folder))
        hands = await self._prepared(spec)
        t0 = perf_counter_ns() + (_LEAD_NS if self._away is None else _FAR_LEAD_NS)
        for hand in hands:
            at = t0 + hand.clock.ns if len(hands) > 1 else None
            hand.future = self._submit(hand.worker, shard.begin, spec.leg_id, at)
        tasks = {asyncio.ensure_future(self._ended(hand)): hand for hand in hands}
        try:
            await self._until_ended(tasks)
        except asyncio.CancelledError:
            halting = asyncio.ensure_future(self._halt(tasks))
            while not halting.done():
                with contextlib.suppress(asyncio.CancelledError):  # we are ending already, within end_s
                    await asyncio.shield(halting)
            self._close(spec, hands, cancelled=True)
            raise
        return self._close(spec, hands)

    # --- before the start

    async def _prepared(self, spec: LegSpec) -> list[_Hand]:
        """Every worker has read the workload and waits. A worker that died since the last leg is replaced, once."""
        for again in (True, False):
            crew, workers = await self._workers(spec)
            specs = split(spec, len(workers))
            clocks = [await asyncio.to_thread(worker.clock) for worker in workers]
            futures = [self._submit(w, shard.prepare, s) for w, s in zip(workers, specs, strict=True)]
            hands, dead = [], []
            for worker, part, clock, future in zip(workers, specs, clocks, futures, strict=True):
                try:
                    ready = await self._result(worker, future)
                except WorkerDied as error:
                    if not again:
                        raise
                    dead.append((worker, error))
                else:
                    hands.append(_Hand(worker, part, clock, ready))
            for worker, _ in dead:
                crew.drop(worker)
            if not dead:
                break
        return hands

    async def _workers(self, spec: LegSpec) -> tuple[Crew, list[Worker]]:
        key = spec.target.api_key_env
        crew = self._away if self._away is not None else self._home
        if spec.series == "calibration":
            count = 1
        elif self._asked is not None:
            count = self._asked
        else:
            count = wanted(spec, await self._rate(crew, spec), crew.most)
        count = min(count, at_most(spec))
        workers = await asyncio.to_thread(crew.have, count, key)
        if crew is not self._home and _is_here(urlsplit(spec.target.url).hostname or ""):
            workers = [worker for worker in workers if worker.near]  # loopback is this machine, and no other
            if not workers:
                crew, workers = self._home, await asyncio.to_thread(self._home.have, 1, key)
        return crew, workers

    async def _rate(self, crew: Crew, spec: LegSpec) -> float | None:
        """What the leg asks for, a second: where it has no rate of its own, its busiest second's, told by a worker."""
        if spec.loop == "closed" or spec.ceiling_rps is None or crew.most == 1:
            return None
        (worker,) = await asyncio.to_thread(crew.have, 1, spec.target.api_key_env)
        return await self._result(worker, self._submit(worker, shard.busiest_rps, spec))

    # --- while it runs

    async def _until_ended(self, tasks: _Tasks) -> None:
        """Every worker. One that is lost, or was stopped by more than its part of the budget, stops the others."""
        waiting = set(tasks)
        while waiting:
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if waiting and any(task.result() for task in ended):
                return await self._halt(tasks)

    async def _ended(self, hand: _Hand) -> bool:
        """Whether its end is the end of the leg."""
        assert hand.future is not None
        try:
            done = await self._result(hand.worker, hand.future)
        except WorkerDied as error:
            hand.gone = str(error)
        except Exception as error:  # `_close` raises it, when all have ended
            hand.error = error
        else:
            return done.stopped not in (None, "budget")
        return True

    async def _halt(self, tasks: _Tasks) -> None:
        """Stop those that still run, and wait until they have ended; who does not is given up."""
        running = {task for task in tasks if not task.done()}
        until = perf_counter_ns() + int(self._end_s * 1e9)
        while running and perf_counter_ns() < until:  # again and again: who had not yet begun has not heard it
            await asyncio.gather(*(asyncio.to_thread(tasks[task].worker.interrupt) for task in running))
            _, running = await asyncio.wait(running, timeout=min(_LOOK_S, self._end_s))
        for task in running:
            task.cancel()
            tasks[task].gone = f"it did not end within {self._end_s:g} s of being told to"
            tasks[task].stuck = True

    def _close(self, spec: LegSpec, hands: list[_Hand], cancelled: bool = False) -> Leg:
        """`leg.json`, once all have ended. Raises what a worker raised."""
        parts: list[Done | Lost] = []
        for hand in hands:
            assert hand.future is not None
            if hand.gone is not None:
                self._drop(hand)
                parts.append(whole.what_is_left(hand.spec, hand.spec.shard, hand.gone))
            elif hand.error is None:
                parts.append(hand.future.result())
        error = next((hand.error for hand in hands if hand.error is not None), None)
        if error is not None:
            raise error
        clocks = {hand.spec.shard: hand.clock for hand in hands}
        leg = whole.merge(spec, [hand.ready for hand in hands], parts, clocks, cancelled=cancelled)
        whole.write_leg(Path(spec.folder), leg)
        return leg

    def _drop(self, hand: _Hand) -> None:
        if hand.future is not None:
            hand.future.cancel()  # a worker started anew under the old address must not begin it
        for crew in (self._home, self._away):
            if crew is not None:
                crew.drop(hand.worker, stuck=hand.stuck)

    # --- one task of one worker

    def _submit(self, worker: Worker, work: Callable[..., T], *args: Any) -> "Future[T]":
        try:
            return worker.executor.submit(work, *args)
        except (BrokenProcessPool, RuntimeError) as error:
            failed: Future[T] = Future()
            failed.set_exception(error)
            return failed

    async def _result(self, worker: Worker, future: "Future[T]") -> T:
        """What the task gave or raised; WorkerDied where its process has ended."""
        coming = asyncio.wrap_future(future)
        coming.add_done_callback(_seen)
        while not coming.done():
            await asyncio.wait([coming], timeout=_LOOK_S)
            if not coming.done() and not await asyncio.to_thread(worker.alive):
                raise WorkerDied("its process ended")
        if coming.cancelled():
            raise WorkerDied("its task was taken away")
        error = coming.exception()
        if isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker":
            raise WorkerDied("its process ended")
        return coming.result()


def _seen(coming: "asyncio.Future[Any]") -> None:
    """Its error is told here or, once the leg has been given up, to nobody."""
    if not coming.cancelled():
        coming.exception()
