"""The whole night: capture, calibrate, replay, sweep, judge, report, alert."""

from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Failed
from pydantic import Field

from config.plan import PlanError, load_plan
from flows.line import Order, run_line

PlanName = Annotated[
    str,
    Field(
        title="Plan",
        description="Path of a plan on the worker (TOML), or the name of a shipped one: nightly, quickstart, smoke",
        json_schema_extra={"position": 1},
    ),
]
TargetName = Annotated[
    str,
    Field(
        title="Only this target",
        description="Name of a target in the plan; empty: all",
        json_schema_extra={"position": 2},
    ),
]
Overrides = Annotated[
    list[str],
    Field(
        title="Changes to the plan",
        description="Each like sweep.requests=500; a changed plan is a segment of its own",
        json_schema_extra={"position": 3},
    ),
]
Scheduled = Annotated[
    bool,
    Field(
        title="Counts as a night",
        description="A quiet, valid night enters the baseline; switch off for a trial",
        json_schema_extra={"position": 4},
    ),
]


@flow(name="nightly", flow_run_name="nightly {plan} {target}", timeout_seconds=6 * 3600, validate_parameters=True)
async def nightly(
    plan: PlanName = "nightly",
    target: TargetName = "",
    overrides: Overrides = [],
    scheduled: Scheduled = True,
) -> State[Any]:
    """Measure a plan's targets as every night, and judge them against the accepted nights.

    Parameters: plan, target, overrides, scheduled. Ends as Regressed, Unchanged, Improved, Inconclusive or Invalid;
    Failed means that no verdict could be made.
    """
    try:
        chosen = load_plan(plan, overrides)
        chosen = chosen.only(target) if target else chosen
    except PlanError as error:
        return Failed(message=str(error), data={"error": str(error), "exit_code": 2})
    return await run_line(
        Order("nightly", chosen, scheduled, capture=True, replay=chosen.replay.enabled, sweep=True, judge=True)
    )
