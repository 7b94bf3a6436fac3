"""Two or more targets side by side, in the same blocks: a CI gate that needs no history, and the gateway's overhead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from config.forms import RIVALS, RivalForm, SweepForm, plan_of, rivals_of, sweep_parts
from config.plan import PlanError, load_plan
from config.shapes import Objective, Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


def named(parameters: Mapping[str, Any]) -> str:
    """`compare main, candidate`, for the list of runs."""
    if parameters.get("plan"):
        names = [str(name) for name in parameters["names"]] or [f"all of {Path(str(parameters['plan'])).stem}"]
    else:
        names = [RivalForm.model_validate(target).name for target in parameters["targets"]]
    return f"compare {', '.join(names)}"


@flow(name="compare", flow_run_name=lambda: named(flow_run.parameters), **MEASURING)
async def compare(
    targets: list[RivalForm] = RIVALS,
    sweep: SweepForm = SweepForm(control=False),  # noqa: B008 - a frozen model
    min_effect: float = 0.03,
    workload: str = "",
    slos: list[Objective] = [],
    plan: str = "",
    names: list[str] = [],
    overrides: list[Override] = [],
) -> State[Any]:
    """Measure targets straight after one another, block by block, and say how far each is from the first.

    Args:
        targets: Which endpoints; the first is what the others are compared with. Hosts other than the worker's machine
            must be allowed there.
        sweep: Closed loop. How many at a time, how often; all targets get the same requests. The blocks are what the
            intervals are made of, and at least 3 are needed.
        min_effect: Share, as in 0.03. A candidate is regressed when its paired interval lies wholly above it, twice.
        workload: Parquet file on the worker, or a pinned name, whose sizes are sent; empty is the built-in one.
        slos: Objectives, each like p95(latency){level=10} < 300ms
        plan: Path of a plan on the worker, or a shipped name, with two targets or more. The fields above are then not
            used.
        names: Which targets of the plan, the baseline first; empty is all of them.
        overrides: Changes to the plan or to the fields, each like budget.usd=2 or judge.confirm=false
    """
    try:
        if plan:
            chosen = rivals_of(load_plan(plan, overrides), names)
        else:
            judge = {"min_effect": min_effect}
            parts = {**sweep_parts(sweep), "workload": workload, "slos": slos, "judge": judge}
            chosen = plan_of(targets, overrides, **parts)
    except PlanError as error:
        return refused(error)
    return await run_line(Order("compare", chosen, sweep=True, compare=True))
