"""Recorded traffic by itself, with its recorded timing."""

from typing import Any

from prefect import State, flow

from config.forms import ReplayForm, TargetForm, plan_at, plan_from
from config.plan import PlanError
from config.shapes import Objective, Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


@flow(name="replay", flow_run_name="replay {target.name} x{replay.speed}", **MEASURING)
async def replay(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    replay: ReplayForm = ReplayForm(),  # noqa: B008
    models: dict[str, str] = {},
    slos: list[Objective] = [],
    plan: str = "",
    overrides: list[Override] = [],
) -> State[Any]:
    """Play a captured workload against one target, every request at its recorded time.

    Args:
        target: Which endpoint to measure. Hosts other than the worker's machine must be allowed there.
        replay: Open loop. Recorded traffic with its recorded timing.
        models: Model in the workload, and the model to ask for instead, as in {"gpt-4o": "gpt-4o-mini"}
        slos: Objectives, each like p95(latency) < 500ms or rate(errors) < 1%
        plan: Path of a plan on the worker, or a shipped name. Its target of the name given above is measured, and the
            other fields are not used.
        overrides: Changes to the plan or to the fields, each like budget.usd=2 or breaker.share=0.2
    """
    try:
        if plan:
            chosen = plan_at(plan, target, overrides)
        else:
            parts = replay.model_dump(exclude={"workload"})
            chosen = plan_from(target, overrides, models, replay=parts, workload=replay.workload, slos=slos)
    except PlanError as error:
        return refused(error)
    return await run_line(Order("replay", chosen, replay=True))
