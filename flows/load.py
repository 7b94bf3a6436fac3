"""One open-loop trial at a constant rate."""

from typing import Any

from prefect import State, flow
from prefect.states import Failed

from config.forms import LoadForm, TargetForm, plan_from
from config.plan import Load, PlanError
from flows.line import Order, run_line


@flow(name="load", flow_run_name="load {target.name} {load.rate_rps}/s", timeout_seconds=6 * 3600)
async def load(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    load: LoadForm = LoadForm(),  # noqa: B008
    workload: str = "",
    slos: list[str] = [],
) -> State[Any]:
    """Send requests at a constant rate, whatever the target does.

    Parameters: target, load, workload (Parquet file or pinned name whose sizes are drawn), slos.
    """
    try:
        chosen = plan_from(target, workload=workload, slos=slos)
    except PlanError as error:
        return Failed(message=str(error), data={"error": str(error), "exit_code": 2})
    return await run_line(Order("load", chosen, load=Load(**load.model_dump())))
