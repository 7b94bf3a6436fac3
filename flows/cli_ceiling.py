"""`gatebench ceiling`: the highest rate that a target keeps up with."""

from typing import Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import AllowHost, DryRun, Home, Json, Quiet
from flows.cli_options import (
    Blocks,
    Junit,
    KeyEnv,
    Levels,
    Model,
    Name,
    PlanFile,
    Requests,
    Set,
    Slos,
    Stream,
    TargetName,
    Url,
    Workload,
    changes_of,
    need_url,
    plan_path,
    seconds,
    swept,
)
from flows.cli_perform import How, perform


def register(app: typer.Typer) -> None:
    app.command()(ceiling)


def ceiling(
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
    requests: Requests = None,
    concurrency: Levels = None,
    blocks: Blocks = None,
    stream: Stream = None,
    workload: Workload = "",
    slo: Slos = None,
    change: Set = None,
    plan: PlanFile = None,
    target: TargetName = None,
    name: Name = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    allow_host: AllowHost = None,
    json: Json = None,
    junit: Junit = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """The highest rate a target keeps up with, inside the objectives: a sweep, then open-loop rates by bisection.

    Example: `gatebench ceiling --url http://127.0.0.1:4000/v1 --model m --slo "p95(latency) < 500ms"`
    """
    settings = common.enter(home, allow_host)
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
    given = swept(requests, concurrency, blocks, stream)
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

    how = How(json, junit, quiet, dry_run)
    return perform(chosen, settings, how, call, sweep=chosen.ceiling.start_rps is None, ceiling=True)
