"""What a run measures with: the load workers, the null responder and the control, each in a process of its own."""

import contextlib
from collections.abc import AsyncIterator

from config.settings import Settings
from flows.opening import Begun
from flows.order import Order
from flows.specs import Setting
from tasks.load.cluster import Cluster
from tasks.load.fleet import Fleet
from tasks.measure import FLEET
from tasks.simulator.model import control_config, null_config
from tasks.simulator.process import SimulatorProcess


@contextlib.asynccontextmanager
async def instruments(order: Order, settings: Settings, begun: Begun) -> AsyncIterator[tuple[Setting, str]]:
    """(what all legs share, URL of the null responder)."""
    plan, address = order.plan, settings.dask_scheduler
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(SimulatorProcess(null_config()))
        control: str | None = None
        if plan.control.enabled and not plan.control.url and order.sweep:
            control = stack.enter_context(SimulatorProcess(control_config(plan.control.service_ms))).url
        async with Fleet(plan.fleet.count, (lambda: Cluster(address)) if address else None) as fleet:
            token = FLEET.set(fleet)
            try:
                yield (
                    Setting(
                        plan,
                        begun.run.run_id,
                        settings.runs_path,
                        begun.workload,
                        begun.workload_id,
                        settings.flush_s,
                        control,
                        begun.tokens_per_word,
                    ),
                    null.url,
                )
            finally:
                FLEET.reset(token)
