"""Measuring tasks: one leg each. Never retried, never cached: a measurement is not repeated silently."""

from contextvars import ContextVar

from prefect import task

from storage.records import Leg
from tasks.again import ONCE
from tasks.load.fleet import Fleet
from tasks.load.spec import LegSpec

# A fleet holds a process; task arguments are stored and shown, so it reaches the task beside them.
FLEET: ContextVar[Fleet] = ContextVar("fleet")


@task(name="measure", task_run_name="{label}", **ONCE)
async def measure(label: str, spec: LegSpec) -> Leg:
    """Run one leg in the load worker; its rows and leg.json are on disk when this returns."""
    return await FLEET.get().run(spec)
