"""Commands that measure. Each is a Prefect flow run, so that history is one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import AllowHost, DryRun, Home, Json, Quiet, Strict

if TYPE_CHECKING:
    from config.load import Load
    from config.plan import Plan
    from config.settings import Settings

Url = Annotated[str | None, typer.Option(help="OpenAI base URL, as in http://127.0.0.1:4000/v1.")]
Model = Annotated[str, typer.Option(help="Model to ask for.")]
PlanFile = Annotated[str | None, typer.Option("--plan", metavar="FILE", help="Take target and limits from a plan.")]
TargetName = Annotated[str | None, typer.Option("--target", metavar="NAME", help="Which target of the plan.")]
Slos = Annotated[list[str] | None, typer.Option("--slo", help="Objective, as in 'p95(latency) < 500ms'; repeatable.")]
Workload = Annotated[str, typer.Option(help="Parquet file or pinned name; absent: the built-in workload.")]
KeyEnv = Annotated[str, typer.Option("--api-key-env", metavar="NAME", help="Environment variable that holds the key.")]
Sessions = Annotated[bool, typer.Option("--sessions", help="A turn waits for the end of the turn before it.")]
InFlight = Annotated[int, typer.Option("--max-in-flight", help="Most requests under way at once.")]
OnFull = Annotated[str, typer.Option("--on-full", metavar="WHAT", help="At --max-in-flight: queue, drop or abort.")]
Spin = Annotated[bool, typer.Option("--spin", help="Spend a core on starting within microseconds.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the plan, as in budget.usd=2; repeatable.")
]


def register(app: typer.Typer) -> None:
    app.command()(quickstart)
    app.command()(nightly)
    app.command()(sweep)
    app.command()(replay)
    app.command()(load)


def nightly(
    plan: Annotated[str, typer.Option("--plan", metavar="FILE", help="Plan file, or a shipped name.")] = "nightly",
    target: TargetName = None,
    change: Set = None,
    trial: Annotated[bool, typer.Option("--trial", help="Do not let this night into the baseline.")] = False,
    dry_run: DryRun = False,
    strict: Strict = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """The whole night once, as the schedule runs it: capture, replay, sweep, judge, report, alert.

    Example: `gatebench nightly --plan my-gateway.toml --set sweep.requests=500`
    """
    settings = common.enter(home, allow_host)
    from config.plan import load_plan

    chosen = load_plan(plan, change or [])
    chosen = chosen.only(target) if target else chosen
    foretell(chosen, settings, sweep=True, replay=chosen.replay.enabled, quiet=quiet)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)
    from flows.nightly import nightly as flow
    from flows.outputs import night_json

    where = str(Path(plan).resolve()) if Path(plan).exists() else plan
    data = common.run_flow(
        lambda: flow(where, target or "", list(change or []), not trial, return_state=True), quiet, probed
    )
    return finish(data, settings, night_json, json, quiet, strict)


def sweep(
    url: Url = None,
    model: Model = "default",
    requests: Annotated[int | None, typer.Option(help="Measured requests a level (1000).")] = None,
    concurrency: Annotated[str | None, typer.Option(help="Levels, as in 1,10,50,100.")] = None,
    blocks: Annotated[int | None, typer.Option(help="Passes over all levels (5).")] = None,
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="Streamed answers (on).")] = None,
    control: Annotated[bool, typer.Option("--control/--no-control", help="Measure our responder beside it.")] = True,
    workload: Workload = "",
    slo: Slos = None,
    change: Set = None,
    plan: PlanFile = None,
    target: TargetName = None,
    name: Annotated[str, typer.Option(help="Name of the target in tables.")] = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Closed-loop sweep over levels of concurrency: latency, throughput, the ceiling.

    Example: `gatebench sweep --url http://127.0.0.1:4000/v1 --model m --requests 1000 --concurrency 1,10,50,100`
    """
    settings = common.enter(home, allow_host)
    from config.forms import SweepForm, TargetForm, plan_from, sweep_parts
    from config.plan import load_plan

    asked: dict[str, Any] = {"requests": requests, "levels": levels_of(concurrency), "blocks": blocks, "stream": stream}
    given = {key: value for key, value in asked.items() if value is not None}
    overrides = [f"sweep.{key}={toml(value)}" for key, value in given.items()]
    form = TargetForm(name=target or name, url=url or "", model=model, api_key_env=api_key_env)
    if plan:
        overrides += [f"control.enabled={toml(control)}"] if not control else []
        overrides += change or []
        chosen = _one_target(load_plan(plan, overrides), target)
        form = form.model_copy(update={"name": chosen.targets[0].name})
    else:
        _need_url(url)
        overrides = list(change or [])
        parts = sweep_parts(SweepForm(**given, control=control))
        chosen = plan_from(form, overrides, **parts, workload=workload, slos=slo or [])
    foretell(chosen, settings, sweep=True, quiet=quiet)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)
    from flows.outputs import sweep_json
    from flows.sweep import sweep as flow

    where = str(Path(plan).resolve()) if plan and Path(plan).exists() else plan or ""
    data = common.run_flow(
        lambda: flow(
            target=form,
            sweep=SweepForm(**given, control=control),
            workload=workload,
            slos=list(slo or []),
            plan=where,
            overrides=overrides,
            return_state=True,
        ),
        quiet,
        probed,
    )
    return finish(data, settings, sweep_json, json, quiet)


def replay(
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
    name: Annotated[str, typer.Option(help="Name of the target in tables.")] = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Replay a captured workload at its recorded times.

    Example: `gatebench replay traffic.parquet --url http://127.0.0.1:4000/v1 --model m --speed 10`
    """
    settings = common.enter(home, allow_host)
    from config.forms import ReplayForm, TargetForm, filled, plan_from

    _need_url(url)
    models = dict(_pair(text) for text in map_model or [])
    where = str(Path(workload).resolve()) if Path(workload).exists() else workload
    form = TargetForm(name=name, url=url or "", model=model, api_key_env=api_key_env)
    parts = filled(
        ReplayForm,
        workload=where,
        speed=speed,
        window=window,
        max_idle_gap_s=_seconds(max_idle_gap),
        scale=scale,
        loop_s=_seconds(loop),
        sessions=sessions,
        stress=stress,
        max_in_flight=max_in_flight,
        on_full=on_full,
        spin=spin,
    )
    fields = parts.model_dump(exclude={"workload"})
    chosen = plan_from(form, change or [], models=models, replay=fields, workload=where, slos=slo or [])
    foretell(chosen, settings, replay=True, quiet=quiet)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)
    from flows.outputs import open_json
    from flows.replay import replay as flow
    from storage.records import Series

    given = {
        "target": form,
        "replay": parts,
        "models": models,
        "slos": list(slo or []),
        "overrides": list(change or []),
    }
    data = common.run_flow(lambda: flow(**given, return_state=True), quiet, probed)
    return finish(data, settings, lambda view: open_json(view, Series.REPLAY), json, quiet)


def load(
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
    name: Annotated[str, typer.Option(help="Name of the target in tables.")] = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    dry_run: DryRun = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """One open-loop trial at a rate, whatever the target does.

    Example: `gatebench load --url http://127.0.0.1:4000/v1 --model m --rate 200 --duration 30s`
    """
    settings = common.enter(home, allow_host)
    from config.forms import LoadForm, TargetForm, filled, load_from, plan_from

    _need_url(url)
    form = TargetForm(name=name, url=url or "", model=model, api_key_env=api_key_env)
    parts = filled(
        LoadForm,
        rate_rps=rate,
        duration_s=_seconds(duration),
        arrivals=arrivals if not steps else "steps",
        cv=cv,
        to_rps=to_rate,
        steps=steps,
        sessions=sessions,
        think_s=_seconds(think),
        max_in_flight=max_in_flight,
        on_full=on_full,
        spin=spin,
        stream=stream,
    )
    chosen = plan_from(form, change or [], workload=workload, slos=slo or [])
    foretell(chosen, settings, load=load_from(parts), quiet=quiet)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)
    from flows.load import load as flow
    from flows.outputs import open_json
    from storage.records import Series

    given = {
        "target": form,
        "load": parts,
        "workload": workload,
        "slos": list(slo or []),
        "overrides": list(change or []),
    }
    data = common.run_flow(lambda: flow(**given, return_state=True), quiet, probed)
    return finish(data, settings, lambda view: open_json(view, Series.LOAD), json, quiet)


def quickstart(json: Json = None, quiet: Quiet = False, home: Home = None) -> int:
    """The product in a few minutes, offline: a simulator, a captured log, quick nights, and one that regresses.

    Example: `gatebench quickstart`
    """
    settings = common.enter(home)
    common.quiet_prefect(settings.home_path)
    from flows.outputs import night_json
    from flows.quickstart import quickstart as show

    with common.prefect_at_hand():
        data = show(settings, quiet)
    finish(data, settings, night_json, json, quiet)
    return 0 if data["verdict"] == "regressed" else 1


def finish(
    data: dict[str, Any], settings: "Settings", shape: Any, json: str | None, quiet: bool, strict: bool = False
) -> int:
    """Write what was asked for; the run's exit code."""
    if json is not None:
        from tasks.publish import view_of

        common.write_json(json, shape(view_of(data["run_id"], settings)))
    common.show_run(data["run_id"], settings, json_to=json, quiet=quiet)
    code = int(data["exit_code"])
    return 17 if strict and code == 0 and data["verdict"] == "inconclusive" else code


def foretell(
    plan: "Plan",
    settings: "Settings",
    *,
    quiet: bool,
    sweep: bool = False,
    replay: bool = False,
    load: "Load | None" = None,
) -> None:
    """Check hosts and workload, then say what it will cost, before anything is sent."""
    common.quiet_prefect(settings.home_path)
    from flows.forecast import afford, forecast
    from flows.ground import check_hosts
    from storage.store import Book
    from tasks.characterise import resolve
    from tasks.workload import trace
    from tasks.workload.capture import capture as read_logs

    check_hosts(plan, settings)
    book = Book(settings.book_path, settings.book_wait_s)
    if plan.capture.sources and not plan.workload and book.pinned(plan.name) is None:
        workload = read_logs(plan.capture.sources, format=plan.capture.format).workload
    else:
        name = plan.workload or (plan.name if plan.capture.sources else "")
        workload = trace.read(resolve(name, book, settings.workloads_path))
    if replay and plan.replay.window:
        workload = trace.window(workload, plan.replay.window)
    cost = forecast(plan, workload.frame, sweep=sweep, replay=replay, load=load)
    if not quiet:
        typer.echo(f"this run: {cost.in_words()}", err=True)
    for warning in afford(cost, plan.budget):
        if not quiet:
            typer.echo(warning, err=True)


def _one_target(plan: "Plan", target: str | None) -> "Plan":
    from storage.errors import UsageError

    if target is not None:
        return plan.only(target)
    if len(plan.targets) > 1:
        names = ", ".join(t.name for t in plan.targets)
        raise UsageError(f"the plan has several targets ({names}); choose one with --target NAME")
    return plan


def _need_url(url: str | None) -> None:
    if url is None:
        from storage.errors import UsageError

        raise UsageError("which target? give --url http://HOST:PORT/v1, or --plan FILE")


def _seconds(text: str) -> float | None:
    """A time like 30s or 5m; empty: None."""
    from tasks.workload.trace import parse_window

    end = parse_window(text)[1] if text else None
    return None if end is None else end / 1e9


def levels_of(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        from storage.errors import UsageError

        raise UsageError(f"--concurrency {text}: write it like 1,10,50,100") from None


def _pair(text: str) -> tuple[str, str]:
    asked, sep, served = text.partition("=")
    if not sep:
        from storage.errors import UsageError

        raise UsageError(f"--map-model {text}: write it like gpt-4o=small")
    return asked, served


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
