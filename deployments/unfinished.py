"""What a server that was stopped, killed or switched off would leave behind, and what stopping it does about that.

A run whose process is gone stays "Running" in Prefect for ever, and a pool that runs one at a time starts no other.
Nights that were due while no server was up would all run one after the other at its next start.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Cancelling, Crashed

LATE = timedelta(minutes=15)
STARTED = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


async def cancel(pool: str, patience_s: float = 20.0) -> int:
    """Ask the worker of `pool` to end what it runs, and wait until it has. How many runs there were."""
    async with get_client() as client:
        asked = await _runs(client, pool, STARTED)
        for run in asked:
            await client.set_flow_run_state(run.id, Cancelling(message="gatebench was stopped"))
        for _ in range(round(patience_s / 0.5)):
            if not await _runs(client, pool, STARTED):
                break
            await asyncio.sleep(0.5)
    return len(asked)


async def close(pool: str, works: Callable[[str], bool]) -> list[str]:
    """Mark runs of `pool` whose process is gone as crashed, and nights long due as missed. Their names.

    `works`: is the process that Prefect noted under this id still a flow's?
    """
    now = datetime.now(UTC)
    async with get_client() as client:
        lost = [r for r in await _runs(client, pool, STARTED) if not works(r.infrastructure_pid or "")]
        crashed: State[None] = Crashed(message="its process ended without a word; what it measured is kept")
        for run in lost:
            await client.set_flow_run_state(run.id, crashed, force=True)
        missed = [r for r in await _runs(client, pool, (StateType.SCHEDULED,)) if _missed(r, now)]
        skipped: State[None] = Cancelled(
            name="Missed", message="no server was up when it was due; it is not made up for"
        )
        for run in missed:
            await client.set_flow_run_state(run.id, skipped, force=True)
    return [run.name for run in (*lost, *missed)]


def flow_works(pid: str, proc: Path = Path("/proc")) -> bool:
    """Is this process id (of this machine) a Prefect flow's? Elsewhere than on Linux: no."""
    number = pid.rpartition(":")[2]
    try:
        return number.isdigit() and b"prefect" in (proc / number / "cmdline").read_bytes()
    except OSError:
        return False


def _missed(run: FlowRun, now: datetime) -> bool:
    due = run.next_scheduled_start_time
    return run.auto_scheduled and due is not None and due < now - LATE


async def _runs(client: PrefectClient, pool: str, kinds: Sequence[StateType]) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(kinds)))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
