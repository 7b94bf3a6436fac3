"""One measurement at a time of each target, whoever runs it and wherever: a strict global concurrency limit in Prefect
for each, held under one lease that is renewed as long as the run lives.

The calls are the client's own and not `prefect.concurrency`, for three reasons: a run says for whom it waits; a slot
that a dead run of this machine holds is given back at once; and a Prefect server that is away for a while ends no run.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runtime import flow_run

from config.plan import Plan
from config.settings import Settings, is_loopback
from flows.lock import HostLock, minutes, only_one
from flows.order import Order
from storage.errors import Busy

LEASE_S = 60.0  # the shortest that Prefect grants
RENEW_S = 15.0
POLL_S = 2.0
GIVE_BACK_S = 5.0
LABEL = "gatebench.slots"  # of a flow run that holds slots: their names
ALIVE = (StateType.RUNNING, StateType.CANCELLING)
_LOCKED = 423
# Whether other data roots use the same Prefect server. One that a command has started for itself is asked for no slot:
# the lock of the data root, whose history it serves, keeps everybody else out.
SHARED: ContextVar[bool] = ContextVar("shared", default=True)


def slot_names(plan: Plan, machine: str) -> list[str]:
    """`bench-<host>-<port>` of everything that the plan sends load to, in order. A loopback address is another target
    on every machine, so there `machine` stands for it."""
    urls = [target.url for target in plan.targets] + [url for url in [plan.control.url] if url]
    return sorted({_name(url, machine) for url in urls})


def _name(url: str, machine: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port if parts.port is not None else {"https": 443}.get(parts.scheme, 80)
    return f"bench-{machine.lower() if is_loopback(host) else host}-{port}"


class Slots:
    """Those of one run, held. `check` raises Busy once another run has them."""

    def __init__(self, client: PrefectClient, names: Sequence[str], lock: HostLock, me: UUID | None) -> None:
        self._client = client
        self._names = list(names)
        self._lock = lock
        self._holder = None if me is None else ConcurrencyLeaseHolder(type="flow_run", id=me)
        self._lease: UUID | None = None
        self._lost: str | None = None

    def check(self) -> None:
        if self._lost is not None:
            raise Busy(self._lost)

    async def acquire(self, say: Callable[[str], None], wait_s: float) -> None:
        """All of them at once, or none. Raises Busy after `wait_s`."""
        waited = 0.0
        while not await self._granted():
            if not waited:
                who = await self._who()
                gone = "a run that is gone, whose slot is free within two minutes"
                whom = gone if who is None else f"{who}, which measures the same target"
                say(f"waiting for {whom}; {minutes(wait_s)} at most")
            if waited >= wait_s:
                raise Busy(await self._in_vain(wait_s))
            await asyncio.sleep(min(POLL_S, wait_s - waited))
            waited += POLL_S

    async def _granted(self) -> bool:
        """A limit that is missing is made: without one nobody would be kept out."""
        for name in self._names:
            try:
                await self._client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                with contextlib.suppress(ObjectAlreadyExists):
                    await self._client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        try:
            answer = await self._client.increment_concurrency_slots_with_lease(
                self._names, 1, "concurrency", LEASE_S, self._holder
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _LOCKED:
                return False
            raise
        self._lease = UUID(answer.json()["lease_id"])
        self._lock.tell(lease=str(self._lease))
        return True

    async def _in_vain(self, wait_s: float) -> str:
        who, names = await self._who(), ", ".join(self._names)
        if who is None:
            return (
                f"nobody measures the target, and yet its slot ({names}) is taken after {minutes(wait_s)} of waiting; "
                "`prefect global-concurrency-limit update NAME --active-slots 0` frees it"
            )
        return (
            f"{who} still measures the same target ({names}) after {minutes(wait_s)} of waiting; let it end, or give "
            "GATEBENCH_RUN_WAIT_S more seconds"
        )

    async def _who(self) -> str | None:
        """The run that holds one of them, by its name; None: whoever held it is gone."""
        running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(ALIVE))))
        for run in await self._client.read_flow_runs(flow_run_filter=running, limit=200):
            if set(self._names) & set(str(run.labels.get(LABEL, "")).split(",")):
                return f"flow run {run.name!r}"
        return None

    async def keep(self) -> None:
        """For ever. A server that is away is asked again; a lease that ran out meanwhile is taken anew."""
        while self._lost is None:
            await asyncio.sleep(RENEW_S)
            try:
                await self.renew()
            except httpx.HTTPError:  # the server is away, or not itself: the measurement goes on
                continue

    async def renew(self) -> None:
        assert self._lease is not None
        try:
            await self._client.renew_concurrency_lease(self._lease, LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:  # it does not know this lease any more
                await self.give_back()
                if not await self._granted():
                    who = await self._who()
                    self._lost = (
                        f"{'another run' if who is None else who} took the target ({', '.join(self._names)}) while the "
                        "Prefect server was away, and both measured it; what was measured is kept, and does not count"
                    )

    async def give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None and await release(self._client, lease):
            self._lock.tell(lease=None)


async def release(client: PrefectClient, lease: UUID) -> bool:
    """Whether the server has it back, or never had it."""
    with anyio.move_on_after(GIVE_BACK_S, shield=True):
        try:
            await client.release_concurrency_slots_with_lease(lease)
        except httpx.HTTPStatusError as error:
            return error.response.status_code < 500
        except httpx.HTTPError:
            return False
        return True
    return False


@dataclass(frozen=True, slots=True)
class Alone:
    """Nobody else measures here, or any of our targets. `check` raises Busy once that is no longer so."""

    lock: HostLock
    check: Callable[[], None]


@contextlib.asynccontextmanager
async def alone(order: Order, settings: Settings, say: Callable[[str], None]) -> AsyncIterator[Alone]:
    """First the machine, then all targets at once. Raises Busy where that takes longer than the settings allow."""
    who, wait_s = f"{order.flow} {order.plan.name}", settings.run_wait_s
    async with only_one(settings.home_path, who, say, wait_s) as lock:
        if not SHARED.get():
            yield Alone(lock, lambda: None)
            return
        me = None if flow_run.id is None else UUID(str(flow_run.id))
        lock.tell(flow_run=None if me is None else str(me))
        names = slot_names(order.plan, platform.node())
        async with get_client() as client, target_slots(client, names, lock, me, say, wait_s) as slots:
            yield Alone(lock, slots.check)


@contextlib.asynccontextmanager
async def target_slots(
    client: PrefectClient,
    names: Sequence[str],
    lock: HostLock,
    me: UUID | None,
    say: Callable[[str], None],
    wait_s: float,
) -> AsyncIterator[Slots]:
    """Hold the limits of these names while the block runs, under the host's lock. `me`: our flow run. Raises Busy."""
    left: Any = lock.left.get("lease")
    if left is not None:  # whoever held it here is dead, for we have the lock
        await release(client, UUID(left))
    slots = Slots(client, names, lock, me)
    await slots.acquire(say, wait_s)
    keeping = asyncio.create_task(slots.keep())
    try:
        if me is not None:
            with contextlib.suppress(httpx.HTTPError):
                await client.update_flow_run_labels(me, {LABEL: ",".join(names)})
        yield slots
    finally:
        keeping.cancel()
        await slots.give_back()
