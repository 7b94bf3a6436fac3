"""`gatebench compare`: targets side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import AllowHost, DryRun, Home, Json, Quiet, Strict
from flows.cli_measure import finish, foretell, levels_of, toml

if TYPE_CHECKING:
    from config.forms import RivalForm

Urls = list[str] | None


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    names: Annotated[Urls, typer.Argument(metavar="A B [C…]", help="Targets of the plan, the baseline first.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", metavar="FILE", help="A plan with two targets or more.")] = None,
    baseline: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI base URL to compare with.")] = None,
    candidate: Annotated[Urls, typer.Option(metavar="URL", help="What is compared with it; repeatable.")] = None,
    direct: Annotated[
        str | None, typer.Option(metavar="URL", help="The upstream itself: tells what the gateways add to it.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model to ask for.")] = "default",
    candidate_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to ask the candidates for, where it differs.")
    ] = None,
    direct_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to ask the upstream for, where it differs.")
    ] = None,
    requests: Annotated[int | None, typer.Option(help="Measured requests a level and target (1000).")] = None,
    concurrency: Annotated[str | None, typer.Option(help="Levels, as in 1,10,50,100.")] = None,
    blocks: Annotated[int | None, typer.Option(help="Passes over all levels (5); at least 3 to judge by.")] = None,
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="Streamed answers (on).")] = None,
    control: Annotated[
        bool | None, typer.Option("--control/--no-control", help="Measure our own responder beside them (off).")
    ] = None,
    min_effect: Annotated[
        float | None, typer.Option(help="Exit 10 when a candidate's interval lies wholly above this share (0.03).")
    ] = None,
    workload: Annotated[str, typer.Option(help="Parquet file or pinned name; absent: the built-in workload.")] = "",
    slo: Annotated[
        Urls, typer.Option("--slo", help="Objective, as in 'p95(latency){level=10} < 500ms'; repeatable.")
    ] = None,
    change: Annotated[
        Urls, typer.Option("--set", metavar="A.B=C", help="Change the plan, as in judge.confirm=false; repeatable.")
    ] = None,
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="Environment variable that holds the key.")
    ] = "GATEBENCH_API_KEY",
    candidate_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="That of the candidates, where it differs.")
    ] = None,
    direct_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="That of the upstream, where it differs.")
    ] = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    allow_host: AllowHost = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Targets side by side in the same blocks: who is slower, by how much, and what a gateway adds. Needs no history.

    Example: `gatebench compare --baseline http://127.0.0.1:4000/v1 --candidate http://127.0.0.1:4001/v1 --model m`
    """
    settings = common.enter(home, allow_host)
    from config.forms import plan_of, rivals_of, sweep_parts
    from config.plan import load_plan

    asked = {"requests": requests, "levels": levels_of(concurrency), "blocks": blocks, "stream": stream}
    given = {key: value for key, value in asked.items() if value is not None}
    effect = [] if min_effect is None else [f"judge.min_effect={min_effect}"]
    targets = _targets(baseline, candidate, direct, (model, candidate_model, direct_model))
    targets = _keys(targets, api_key_env, candidate_key_env, direct_key_env)
    parameters: dict[str, Any]
    if plan:
        _only_names(targets)
        sure = [f"sweep.{key}={toml(value)}" for key, value in given.items()]
        sure += [] if control is None else [f"control.enabled={toml(control)}"]
        overrides = [*sure, *effect, *(change or [])]
        chosen = rivals_of(load_plan(plan, overrides), names or [])
        where = str(Path(plan).resolve()) if Path(plan).exists() else plan
        parameters = {"targets": targets, "plan": where, "names": names or [], "overrides": overrides}
    else:
        _need_two(targets, names)
        from config.forms import SweepForm, filled

        form = filled(SweepForm, **given, control=bool(control))
        overrides = [*effect, *(change or [])]
        parts = {**sweep_parts(form), "workload": workload, "slos": slo or []}
        chosen = plan_of(targets, overrides, **parts)
        parameters = {"targets": targets, "sweep": form, "workload": workload, "slos": slo or []}
        parameters["overrides"] = overrides
    foretell(chosen, settings, sweep=True, quiet=quiet)
    if dry_run:
        return 0
    probed = common.reach(chosen, settings)
    from flows.compare import compare as flow
    from flows.outputs import compare_json

    data = common.run_flow(lambda: flow(**parameters, return_state=True), quiet, probed)
    return finish(data, settings, compare_json, json, quiet, strict)


def _targets(
    baseline: str | None, candidates: Urls, direct: str | None, models: tuple[str, str | None, str | None]
) -> "list[RivalForm]":
    from config.forms import RivalForm

    found = [] if baseline is None else [RivalForm(name="baseline", url=baseline, model=models[0])]
    many = candidates or []
    for place, url in enumerate(many, start=1):
        name = "candidate" if len(many) == 1 else f"candidate-{place}"
        found.append(RivalForm(name=name, url=url, model=models[0] if models[1] is None else models[1]))
    if direct is not None:
        asked = models[0] if models[2] is None else models[2]
        found.append(RivalForm(name="direct", url=direct, model=asked, direct=True))
    return found


def _keys(targets: "list[RivalForm]", main: str, candidate: str | None, direct: str | None) -> "list[RivalForm]":
    def key(target: "RivalForm") -> str:
        own = direct if target.direct else None if target.name == "baseline" else candidate
        return main if own is None else own

    return [target.model_copy(update={"api_key_env": key(target)}) for target in targets]


def _only_names(targets: "list[RivalForm]") -> None:
    if targets:
        from storage.errors import UsageError

        raise UsageError("--plan has the targets: name them, as in `--plan FILE A B`, and leave out the URLs")


def _need_two(targets: "list[RivalForm]", names: Urls) -> None:
    from storage.errors import UsageError

    if names:
        raise UsageError(f"{', '.join(names)} are targets of a plan: give --plan FILE, or URLs with --baseline")
    if len(targets) < 2:
        raise UsageError("compare what? give --baseline URL and --candidate URL (or --direct URL), or --plan FILE")
