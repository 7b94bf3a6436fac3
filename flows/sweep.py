"""A closed-loop sweep by itself: levels, ceiling, no verdict unless asked for."""

from typing import Any

from prefect import State, flow

from config.forms import SweepForm, TargetForm, plan_at, plan_from, sweep_parts
from config.plan import PlanError
from config.shapes import Objective, Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


@flow(name="sweep", flow_run_name="sweep {target.name}", **MEASURING)
async def sweep(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    sweep: SweepForm = SweepForm(),  # noqa: B008
    workload: str = "",
    slos: list[Objective] = [],
    plan: str = "",
    overrides: list[Override] = [],
) -> State[Any]:
    """Measure one target at several levels of concurrency and find its throughput ceiling.

    Args:
        target: Which endpoint to measure. Hosts other than the worker's machine must be allowed there.
        sweep: Closed loop. How many at a time, how often.
        workload: Parquet file on the worker, or a pinned name, whose sizes are sent; empty is the built-in one.
        slos: Objectives, each like p95(latency){level=10} < 300ms or rate(errors) < 1%
        plan: Path of a plan on the worker, or a shipped name. Its target of the name given above is measured, and the
            other fields are not used.
        overrides: Changes to the plan or to the fields, each like budget.usd=2 or breaker.share=0.2
    """
    try:
        if plan:
            chosen = plan_at(plan, target, overrides)
        else:
            chosen = plan_from(target, overrides, **sweep_parts(sweep), workload=workload, slos=slos)
    except PlanError as error:
        return refused(error)
    return await run_line(Order("sweep", chosen, sweep=True, ceiling=chosen.ceiling.enabled))
