"""`gatebench ceiling`: the highest rate that a target keeps up with."""

from typing import Annotated, Any

import typer

from flows.cli_common import DryRun
from flows.cli_options import (
    How,
    KeyEnv,
    Model,
    Name,
    PlanFile,
    Set,
    Slos,
    Swept,
    TargetName,
    Url,
    Workload,
    changes_of,
    need_url,
    plan_path,
    seconds,
    spread,
)
from flows.cli_perform import perform


def register(app: typer.Typer) -> None:
    app.command()(spread(ceiling))


def ceiling(
    *,
    url: Url = None,
    model: Model = "default",
    duration: Annotated[str, typer.Option(help="How long each rate is tried (10s); low rates take longer.")] = "",
    max_rate: Annotated[
        float | None, typer.Option(help="Never try more; absent: a tenth beyond what the sweep reached.")
    ] = None,
    start: Annotated[
        float | None, typer.Option(metavar="RATE", help="Begin here, without a sweep; needs --max-rate.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Share between what it keeps up with and what is too much (0.02).")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(metavar="HOW", help="Spacing: constant, or poisson as users come.")
    ] = None,
    extend_to: Annotated[
        int | None, typer.Option(help="Double the top level up to this while throughput still rises; absent: never.")
    ] = None,
    swept: Swept,
    workload: Workload = "",
    slo: Slos = None,
    change: Set = None,
    plan: PlanFile = None,
    target: TargetName = None,
    name: Name = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    how: How,
) -> int:
    """The highest rate a target keeps up with, inside the objectives: a sweep, then open-loop rates by bisection.

    Example: `gatebench ceiling --url http://127.0.0.1:4000/v1 --model m --slo "p95(latency) < 500ms"`
    """
    settings = how.enter()
    from config.ceiling_form import CeilingForm, ceiling_parts
    from config.forms import SweepForm, TargetForm, filled, plan_from
    from config.plan import load_plan

    asked = {
        "duration_s": seconds(duration),
        "max_rps": max_rate,
        "start_rps": start,
        "tolerance": tolerance,
        "arrivals": arrivals,
    }
    rates = {key: value for key, value in asked.items() if value is not None}
    given = swept.given()
    extend = {} if extend_to is None else {"extend_to": extend_to}
    form = TargetForm(name=target or name, url=url or "", model=model, api_key_env=api_key_env)
    sweep, wanted = filled(SweepForm, **given, control=False), filled(CeilingForm, **rates, **extend)
    overrides, slos = list(change or []), list(slo or [])
    if plan:
        said = {key: f'"{value}"' if isinstance(value, str) else value for key, value in rates.items()}
        overrides = [*changes_of("sweep", given | extend), *changes_of("ceiling", said), *overrides]
        chosen = load_plan(plan, overrides).only_one(target)
        form = form.model_copy(update={"name": chosen.targets[0].name})
    else:
        need_url(url)
        chosen = plan_from(form, overrides, **ceiling_parts(sweep, wanted), workload=workload, slos=slos)

    def call() -> Any:
        from flows.ceiling import ceiling as flow

        return flow(
            target=form,
            sweep=sweep,
            rates=wanted,
            workload=workload,
            slos=slos,
            plan=plan_path(plan) if plan else "",
            overrides=overrides,
            return_state=True,
        )

    return perform(chosen, settings, how, call, dry_run=dry_run, sweep=chosen.ceiling.start_rps is None, ceiling=True)
