"""One open-loop trial at a rate."""

from typing import Any

from prefect import State, flow

from config.forms import LoadForm, TargetForm, load_from, plan_from
from config.plan import PlanError
from config.shapes import Objective, Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


@flow(name="load", flow_run_name="load {target.name} {load.words}", **MEASURING)
async def load(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    load: LoadForm = LoadForm(),  # noqa: B008
    workload: str = "",
    slos: list[Objective] = [],
    overrides: list[Override] = [],
) -> State[Any]:
    """Send requests at a rate, whatever the target does.

    Args:
        target: Which endpoint to measure. Hosts other than the worker's machine must be allowed there.
        load: Open loop. So many requests a second, however slow the answers.
        workload: Parquet file on the worker, or a pinned name, whose sizes are sent; empty is the built-in one.
        slos: Objectives, each like p95(latency) < 500ms or rate(errors) < 1%
        overrides: Changes to what is not said above, each like budget.usd=2 or breaker.share=0.2
    """
    try:
        chosen = plan_from(target, overrides, workload=workload, slos=slos)
        sending = load_from(load)
    except PlanError as error:
        return refused(error)
    return await run_line(Order("load", chosen, load=sending))
