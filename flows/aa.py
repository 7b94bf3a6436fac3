"""The same target measured again and again: how noisy is this setup, and what will the gate make of it?"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from prefect import State, flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.states import Completed, Failed

from config.forms import SweepForm, TargetForm, plan_from, sweep_parts
from config.plan import Plan, PlanError, load_plan
from config.shapes import Override
from flows.aftermath import MEASURING
from flows.line import run_line
from flows.listen import say
from flows.order import Order
from flows.refused import refused
from storage.errors import GatebenchError
from tasks.report.noise import noise_markdown, title, verdict_words
from tasks.study import Turn, study

LEAST_RUNS = 3


@flow(name="aa-turn", flow_run_name="{turn}", **MEASURING)
async def measured_once(plan: dict[str, Any], turn: str) -> State[Any]:
    """One sweep of an A/A study, with worker processes, control and calibration of its own.

    Args:
        plan: What to measure, whole.
        turn: Which of the study it is, in words.
    """
    say(turn)
    return await run_line(Order("aa", Plan.model_validate(plan), sweep=True))


_ONCE = cast("Callable[..., Awaitable[State[Any]]]", measured_once)  # with return_state=True it returns a State


@flow(name="aa", flow_run_name="aa {target.name}", **{**MEASURING, "timeout_seconds": 24 * 3600})
async def aa(
    target: TargetForm = TargetForm(),  # noqa: B008 - a frozen model
    sweep: SweepForm = SweepForm(),  # noqa: B008
    runs: int = 6,
    processes: int = 2,
    pause_s: float = 0.0,
    simulated: int = 400,
    workload: str = "",
    plan: str = "",
    overrides: list[Override] = [],
) -> State[Any]:
    """Measure one target that does not change, several times over, and say how noisy the setup is.

    Args:
        target: Which endpoint to measure. Hosts other than the worker's machine must be allowed there.
        sweep: Closed loop, as a night has it.
        runs: How often the whole is done; at least 3, and the more the surer.
        processes: Sweeps a run, each with worker processes of its own.
        pause_s: Seconds between two runs, so that they meet the machine at different hours.
        simulated: Quiet nights that are simulated with what was found, for the share of false alarms.
        workload: Parquet file on the worker, or a pinned name, whose sizes are sent; empty is the built-in one.
        plan: Path of a plan on the worker, or a shipped name. Its target of the name given above is measured, and the
            target, sweep and workload above are not used.
        overrides: Changes to the plan or to the fields, each like budget.usd=2
    """
    try:
        chosen = chosen_plan(target, sweep, workload, plan, overrides)
        need_turns(runs, processes, pause_s, simulated, chosen)
    except PlanError as error:
        return refused(error)
    turns: list[Turn] = []
    for run in range(1, runs + 1):
        if run > 1 and pause_s:
            say(f"waiting {pause_s:g} s")
            await asyncio.sleep(pause_s)
        for process in range(1, processes + 1):
            words = f"run {run} of {runs}" + (f", process {process} of {processes}" if processes > 1 else "")
            state = await _ONCE(chosen.model_dump(mode="json"), words, return_state=True)
            data = await state.aresult(raise_on_failure=False)
            if isinstance(data, BaseException):
                raise data
            if "error" in data:
                return Failed(message=str(data["error"]), data=dict(data))
            turns.append(Turn(data["run_id"], run, process))
    say("simulating nights with what was found")
    try:
        noise = await study(turns, chosen, simulated)
    except GatebenchError as error:
        return refused(error)
    await acreate_markdown_artifact(noise_markdown(noise), key="gatebench-aa", description=title(noise))
    name = "Noisy" if noise.warnings else "Measured"
    return Completed(
        name=name,
        message=verdict_words(noise)[:1000],
        data={"noise_id": noise.noise_id, "too_noisy": bool(noise.warnings), "exit_code": 0},
    )


def chosen_plan(target: TargetForm, sweep: SweepForm, workload: str, plan: str, overrides: list[str]) -> Plan:
    """One target, without objectives and without its logs: neither is what an A/A study is about. Raises PlanError."""
    if plan:
        chosen = load_plan(plan, overrides).only_one(None if target.name == "target" else target.name)
    else:
        chosen = plan_from(target, overrides, **sweep_parts(sweep), workload=workload)
    return chosen.model_copy(update={"slos": ()})


def need_turns(runs: int, processes: int, pause_s: float, simulated: int, plan: Plan) -> None:
    """Raises PlanError."""
    if runs < LEAST_RUNS:
        raise PlanError(f"runs: {runs} do not tell how runs differ; at least {LEAST_RUNS}")
    if processes < 1:
        raise PlanError(f"processes: {processes}; at least 1")
    if pause_s < 0:
        raise PlanError(f"pause: {pause_s:g} s; at least 0")
    if simulated < 1:
        raise PlanError(f"simulated: {simulated} nights; at least 1")
    if plan.sweep.blocks < 2:
        raise PlanError("sweep.blocks: 1 does not tell how blocks differ; at least 2")
