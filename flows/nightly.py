"""The whole night: capture, calibrate, replay, sweep, judge, report, alert."""

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from config.plan import PlanError, load_plan
from config.shapes import Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.order import Order
from flows.refused import refused


def _run_name() -> str:
    """As `nightly my-gateway`: the plan by its name, not by its path."""
    given = flow_run.parameters  # without defaults
    return " ".join(("nightly", Path(given.get("plan", "nightly")).stem, given.get("target", ""))).strip()


@flow(name="nightly", flow_run_name=_run_name, **MEASURING)
async def nightly(
    plan: str = "nightly", target: str = "", overrides: list[Override] = [], scheduled: bool = True
) -> State[Any]:
    """Measure a plan's targets as every night, and judge them against the accepted nights.

    Ends as Regressed, Unchanged, Improved, Inconclusive or Invalid; Failed means that no verdict could be made.

    Args:
        plan: Path of a plan on the worker (TOML), or the name of a shipped one, nightly, quickstart or smoke
        target: Name of the only target of the plan to measure; empty is all of them.
        overrides: Changes to the plan, each like sweep.requests=500; what measures differently is judged by itself.
        scheduled: Counts as a night. A quiet, valid night enters the baseline; switch off for a trial.
    """
    try:
        chosen = load_plan(plan, overrides)
        chosen = chosen.only(target) if target else chosen
    except PlanError as error:
        return refused(error)
    return await run_line(
        Order(
            "nightly",
            chosen,
            scheduled,
            capture=True,
            replay=chosen.replay.enabled,
            sweep=True,
            ceiling=chosen.ceiling.enabled,
            judge=True,
        )
    )
