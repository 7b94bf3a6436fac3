"""`gatebench aa`: how noisy a setup is."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import AllowHost, DryRun, Home, Json, Quiet
from flows.cli_options import (
    KeyEnv,
    Model,
    Name,
    PlanFile,
    Set,
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
from flows.cli_perform import foretell

if TYPE_CHECKING:
    from storage.records import Noise


def register(app: typer.Typer) -> None:
    app.command()(spread(aa))


def aa(
    *,
    url: Url = None,
    model: Model = "default",
    runs: Annotated[int, typer.Option(help="How often the whole is done; the more, the surer.")] = 6,
    processes: Annotated[int, typer.Option(help="Sweeps a run, each with worker processes of its own.")] = 2,
    pause: Annotated[str, typer.Option(help="Wait between two runs, as in 10m.")] = "",
    from_history: Annotated[
        str | None,
        typer.Option(metavar="WORKLOAD/TARGET", help="Measure nothing: go by the nights in the baseline."),
    ] = None,
    show: Annotated[
        str | None, typer.Option(metavar="STUDY", help="One that was made before: its id, or last.")
    ] = None,
    simulated: Annotated[
        int, typer.Option(metavar="NIGHTS", help="Quiet nights to simulate; the more, the surer.")
    ] = 400,
    swept: Swept,
    control: Annotated[bool, typer.Option("--control/--no-control", help="Measure our responder beside it.")] = True,
    workload: Workload = "",
    change: Set = None,
    plan: PlanFile = None,
    target: TargetName = None,
    name: Name = "target",
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 17 when the setup is too noisy to judge.")
    ] = False,
    dry_run: DryRun = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """How noisy this setup is: the same target again and again, its variance by source, and what the gate makes of it.

    Example: `gatebench aa --url http://127.0.0.1:4000/v1 --model m --runs 6 --pause 10m`
    """
    settings = common.enter(home, allow_host)
    from storage.store import Book

    watch = Book(settings.book_path, settings.book_wait_s).watch
    if show is not None:
        return _tell(watch.noise(show), json, quiet, strict)
    if from_history is not None:
        from tasks.study import study_history

        return _tell(study_history(from_history, settings, simulated), json, quiet, strict)
    common.quiet_prefect(settings.home_path)
    from config.forms import SweepForm, TargetForm, filled
    from flows.aa import chosen_plan, need_turns

    given = swept.given()
    form = TargetForm(name=target or name, url=url or "", model=model, api_key_env=api_key_env)
    sweep, overrides = filled(SweepForm, **given, control=control), list(change or [])
    if plan:
        overrides = [*changes_of("sweep", given), *overrides]
        overrides += [] if control else changes_of("control", {"enabled": False})
        form = form.model_copy(update={"name": target or "target"})
    else:
        need_url(url)
    where = plan_path(plan) if plan else ""
    waited = seconds(pause)
    pause_s = 0.0 if waited is None else waited
    chosen = chosen_plan(form, sweep, workload, where, overrides)
    need_turns(runs, processes, pause_s, simulated, chosen)
    foretell(chosen, settings, sweep=True, quiet=quiet)
    if not quiet:
        typer.echo(f"and that {runs * processes} times: {runs} runs of {processes}", err=True)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)

    def call() -> Any:
        from flows.aa import aa as flow

        return flow(
            target=form,
            sweep=sweep,
            runs=runs,
            processes=processes,
            pause_s=pause_s,
            simulated=simulated,
            workload=workload,
            plan=where,
            overrides=overrides,
            return_state=True,
        )

    data = common.run_flow(call, quiet, probed)
    return _tell(watch.noise(data["noise_id"]), json, quiet, strict)


def _tell(noise: "Noise", json: str | None, quiet: bool, strict: bool) -> int:
    from rich.console import Console

    from tasks.report.noise import noise_json, render_noise

    common.write_json(json, noise_json(noise))
    if not quiet and json != "-":
        render_noise(noise, Console(highlight=False))
    return 17 if strict and noise.warnings else 0
