"""The throughput ceiling: a sweep, and then the highest rate that the target keeps up with in an open loop."""

from typing import Any

from prefect import State, flow

from config.ceiling_form import CeilingForm, ceiling_parts
from config.forms import SweepForm, TargetForm, plan_at, plan_from
from config.plan import PlanError
from config.shapes import Objective, Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


@flow(name="ceiling", flow_run_name="ceiling {target.name}", **MEASURING)
async def ceiling(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    sweep: SweepForm = SweepForm(control=False),  # noqa: B008
    rates: CeilingForm = CeilingForm(),  # noqa: B008
    workload: str = "",
    slos: list[Objective] = [],
    plan: str = "",
    overrides: list[Override] = [],
) -> State[Any]:
    """Find the highest rate that one target keeps up with, inside the objectives, and say what limits it.

    Args:
        target: Which endpoint to measure. Hosts other than the worker's machine must be allowed there.
        sweep: Closed loop. How many at a time, how often; its ceiling is where the search begins.
        rates: Open loop. Which rates are tried, and for how long each.
        workload: Parquet file on the worker, or a pinned name, whose sizes are sent; empty is the built-in one.
        slos: Objectives that a rate must keep, each like p95(latency) < 500ms or rate(errors) < 1%
        plan: Path of a plan on the worker, or a shipped name. Its target of the name given above is measured, and the
            other fields are not used.
        overrides: Changes to the plan or to the fields, each like budget.usd=2 or ceiling.most=8
    """
    try:
        if plan:
            chosen = plan_at(plan, target, overrides)
        else:
            parts = ceiling_parts(sweep, rates)
            chosen = plan_from(target, overrides, **parts, workload=workload, slos=slos)
    except PlanError as error:
        return refused(error)
    return await run_line(Order("ceiling", chosen, sweep=chosen.ceiling.start_rps is None, ceiling=True))
