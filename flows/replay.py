"""Recorded traffic by itself, with its recorded timing."""

from typing import Any

from prefect import State, flow
from prefect.states import Failed

from config.forms import ReplayForm, TargetForm, plan_from
from config.plan import PlanError, load_plan
from flows.line import Order, run_line


@flow(name="replay", flow_run_name="replay {target.name} x{replay.speed}", timeout_seconds=6 * 3600)
async def replay(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    replay: ReplayForm = ReplayForm(),  # noqa: B008
    models: dict[str, str] = {},
    slos: list[str] = [],
    plan: str = "",
    overrides: list[str] = [],
) -> State[Any]:
    """Play a captured workload against one target, every request at its recorded time.

    Parameters: target, replay, models (model in the workload -> model to ask for), slos, plan (a plan file whose target
    named in `target` is measured instead of the forms), overrides (changes to that plan).
    """
    try:
        if plan:
            chosen = load_plan(plan, overrides)
            chosen = chosen.only(target.name) if target.name != "target" else chosen
        else:
            parts = replay.model_dump(exclude={"workload"})
            chosen = plan_from(target, replay=parts, workload=replay.workload, slos=slos)
            only = chosen.targets[0].model_copy(update={"models": models})
            chosen = chosen.model_copy(update={"targets": (only,)})
    except PlanError as error:
        return Failed(message=str(error), data={"error": str(error), "exit_code": 2})
    return await run_line(Order("replay", chosen, replay=True))
