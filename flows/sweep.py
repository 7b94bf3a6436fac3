"""A closed-loop sweep by itself: levels, ceiling, no verdict unless asked for."""

from typing import Any

from prefect import State, flow
from prefect.states import Failed

from config.forms import SweepForm, TargetForm, plan_from, sweep_parts
from config.plan import PlanError, load_plan
from flows.line import Order, run_line


@flow(name="sweep", flow_run_name="sweep {target.name}", timeout_seconds=6 * 3600)
async def sweep(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    sweep: SweepForm = SweepForm(),  # noqa: B008
    workload: str = "",
    slos: list[str] = [],
    plan: str = "",
    overrides: list[str] = [],
) -> State[Any]:
    """Measure one target at several levels of concurrency and find its throughput ceiling.

    Parameters: target, sweep, workload (Parquet file or pinned name), slos (as "p95(latency){level=10} < 300ms"),
    plan (a plan file whose target named in `target` is measured instead of the forms), overrides (changes to it).
    """
    try:
        if plan:
            chosen = load_plan(plan, overrides)
            chosen = chosen.only(target.name) if target.name != "target" else chosen
        else:
            chosen = plan_from(target, **sweep_parts(sweep), workload=workload, slos=slos)
    except PlanError as error:
        return Failed(message=str(error), data={"error": str(error), "exit_code": 2})
    return await run_line(Order("sweep", chosen, sweep=True))
