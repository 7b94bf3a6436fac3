"""Commands that measure. Each is a Prefect flow run, so that history is one."""

from typing import Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import DryRun, Home, Json, Quiet, Strict
from flows.cli_options import (
    How,
    InFlight,
    KeyEnv,
    Model,
    Name,
    OnFull,
    PlanFile,
    Sessions,
    Set,
    Slos,
    Spin,
    Swept,
    TargetName,
    Url,
    Workload,
    changes_of,
    models_of,
    need_url,
    plan_path,
    seconds,
    spread,
)
from flows.cli_perform import finish, perform


def register(app: typer.Typer) -> None:
    app.command()(quickstart)
    app.command()(spread(nightly))
    app.command()(spread(sweep))
    app.command()(spread(replay))
    app.command()(spread(load))


def nightly(
    *,
    plan: Annotated[str, typer.Option("--plan", metavar="FILE", help="Plan file, or a shipped name.")] = "nightly",
    target: TargetName = None,
    change: Set = None,
    trial: Annotated[bool, typer.Option("--trial", help="Do not let this night into the baseline.")] = False,
    dry_run: DryRun = False,
    strict: Strict = False,
    how: How,
) -> int:
    """The whole night once, as the schedule runs it: capture, replay, sweep, judge, report, alert.

    Example: `gatebench nightly --plan my-gateway.toml --set sweep.requests=500`
    """
    settings = how.enter()
    from config.plan import load_plan

    chosen = load_plan(plan, change or [])
    chosen = chosen.only(target) if target else chosen

    def call() -> Any:
        from flows.nightly import nightly as flow

        return flow(plan_path(plan), target or "", list(change or []), not trial, return_state=True)

    replay, ceiling = chosen.replay.enabled, chosen.ceiling.enabled
    return perform(
        chosen, settings, how, call, dry_run=dry_run, strict=strict, sweep=True, replay=replay, ceiling=ceiling
    )


def sweep(
    *,
    url: Url = None,
    model: Model = "default",
    swept: Swept,
    control: Annotated[bool, typer.Option("--control/--no-control", help="Measure our responder beside it.")] = True,
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
    """Closed-loop sweep over levels of concurrency: latency, throughput, the ceiling.

    Example: `gatebench sweep --url http://127.0.0.1:4000/v1 --model m --requests 1000 --concurrency 1,10,50,100`
    """
    settings = how.enter()
    from config.forms import SweepForm, TargetForm, filled, plan_from, sweep_parts
    from config.plan import load_plan

    given = swept.given()
    form = TargetForm(name=target or name, url=url or "", model=model, api_key_env=api_key_env)
    wanted, overrides = filled(SweepForm, **given, control=control), list(change or [])
    if plan:
        overrides = [*changes_of("sweep", given), *([] if control else ["control.enabled=false"]), *overrides]
        chosen = load_plan(plan, overrides).only_one(target)
        form = form.model_copy(update={"name": chosen.targets[0].name})
    else:
        need_url(url)
        chosen = plan_from(form, overrides, **sweep_parts(wanted), workload=workload, slos=slo or [])

    def call() -> Any:
        from flows.sweep import sweep as flow

        return flow(
            target=form,
            sweep=wanted,
            workload=workload,
            slos=list(slo or []),
            plan=plan_path(plan) if plan else "",
            overrides=overrides,
            return_state=True,
        )

    return perform(chosen, settings, how, call, dry_run=dry_run, sweep=True, ceiling=chosen.ceiling.enabled)


def replay(
    *,
    workload: Annotated[str, typer.Argument(metavar="W.parquet", help="Captured workload, or a pinned name.")],
    url: Url = None,
    model: Model = "default",
    speed: Annotated[float, typer.Option(help="2 plays twice as fast.")] = 1.0,
    window: Annotated[str, typer.Option(help="Part to play, as in 0:10m.")] = "",
    max_idle_gap: Annotated[str, typer.Option(metavar="TIME", help="Cut longer gaps to this, as in 10s.")] = "",
    scale: Annotated[float, typer.Option(help="2 sends twice as many in the same time.")] = 1.0,
    loop: Annotated[str, typer.Option(metavar="TIME", help="Play it again and again for so long, as in 30m.")] = "",
    sessions: Sessions = False,
    stress: Annotated[
        str, typer.Option(help="Load on top, not judged, as in rate=50,from=1m,until=5m or concurrency=8.")
    ] = "",
    max_in_flight: InFlight = 1000,
    on_full: OnFull = "queue",
    spin: Spin = False,
    map_model: Annotated[
        list[str] | None, typer.Option("--map-model", metavar="ASKED=SERVED", help="Ask for another model; repeatable.")
    ] = None,
    slo: Slos = None,
    change: Set = None,
    name: Name = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    how: How,
) -> int:
    """Replay a captured workload at its recorded times.

    Example: `gatebench replay traffic.parquet --url http://127.0.0.1:4000/v1 --model m --speed 10`
    """
    settings = how.enter()
    from config.forms import ReplayForm, TargetForm, filled, plan_from

    form = TargetForm(name=name, url=need_url(url), model=model, api_key_env=api_key_env)
    models = models_of(map_model)
    parts = filled(
        ReplayForm,
        workload=plan_path(workload),
        speed=speed,
        window=window,
        max_idle_gap_s=seconds(max_idle_gap),
        scale=scale,
        loop_s=seconds(loop),
        sessions=sessions,
        stress=stress,
        max_in_flight=max_in_flight,
        on_full=on_full,
        spin=spin,
    )
    overrides, slos = list(change or []), list(slo or [])
    fields = parts.model_dump(exclude={"workload"})
    chosen = plan_from(form, overrides, models=models, replay=fields, workload=parts.workload, slos=slos)

    def call() -> Any:
        from flows.replay import replay as flow

        return flow(target=form, replay=parts, models=models, slos=slos, overrides=overrides, return_state=True)

    return perform(chosen, settings, how, call, dry_run=dry_run, replay=True)


def load(
    *,
    url: Url = None,
    model: Model = "default",
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 10.0,
    duration: Annotated[str, typer.Option(help="How long, as in 30s or 5m.")] = "30s",
    arrivals: Annotated[
        str, typer.Option(metavar="HOW", help="Spacing: constant, poisson, gamma, ramp or steps.")
    ] = "constant",
    cv: Annotated[
        float | None, typer.Option(help="Spread of gamma's gaps; with ramp and steps, draws them. 1 is Poisson.")
    ] = None,
    to_rate: Annotated[float | None, typer.Option(help="Rate at the end of a ramp.")] = None,
    steps: Annotated[
        str, typer.Option(metavar="RATE:TIME,…", help="As in 10:30s,50:1m; instead of --rate and --duration.")
    ] = "",
    sessions: Sessions = False,
    think: Annotated[
        str, typer.Option(metavar="TIME", help="Mean of drawn think times between turns; absent: as recorded.")
    ] = "",
    max_in_flight: InFlight = 1000,
    on_full: OnFull = "queue",
    spin: Spin = False,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Streamed answers.")] = True,
    workload: Workload = "",
    slo: Slos = None,
    change: Set = None,
    name: Name = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    how: How,
) -> int:
    """One open-loop trial at a rate, whatever the target does.

    Example: `gatebench load --url http://127.0.0.1:4000/v1 --model m --rate 200 --duration 30s`
    """
    settings = how.enter()
    from config.forms import LoadForm, TargetForm, filled, load_from, plan_from

    form = TargetForm(name=name, url=need_url(url), model=model, api_key_env=api_key_env)
    parts = filled(
        LoadForm,
        rate_rps=rate,
        duration_s=seconds(duration),
        arrivals=arrivals if not steps else "steps",
        cv=cv,
        to_rps=to_rate,
        steps=steps,
        sessions=sessions,
        think_s=seconds(think),
        max_in_flight=max_in_flight,
        on_full=on_full,
        spin=spin,
        stream=stream,
    )
    overrides, slos = list(change or []), list(slo or [])
    chosen = plan_from(form, overrides, workload=workload, slos=slos)

    def call() -> Any:
        from flows.load import load as flow

        return flow(target=form, load=parts, workload=workload, slos=slos, overrides=overrides, return_state=True)

    return perform(chosen, settings, how, call, dry_run=dry_run, load=load_from(parts))


def quickstart(json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """The product in a few minutes, offline: a simulator, a captured log, quick nights, and one that regresses.

    Example: `gatebench quickstart`
    """
    settings = common.enter(home)
    if not quiet:
        common.tell("five short nights against a simulated gateway, the last one slower: a few minutes")
    common.quiet_prefect(settings.home_path)
    from flows.quickstart import TOO_BUSY
    from flows.quickstart import quickstart as show

    with common.prefect_at_hand(quiet):
        data = show(settings, quiet)
    finish(data, settings, How(json=json, quiet=quiet))
    if data["verdict"] == "regressed":
        return 0
    common.tell(f"gatebench: {TOO_BUSY}")
    return 12
