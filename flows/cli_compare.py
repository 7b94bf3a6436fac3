"""`gatebench compare`: targets side by side."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_common import DryRun, Strict
from flows.cli_options import (
    How,
    KeyEnv,
    Model,
    Set,
    Slos,
    Swept,
    Workload,
    changes_of,
    plan_path,
    spread,
)
from flows.cli_perform import perform

if TYPE_CHECKING:
    from config.forms import RivalForm

Urls = list[str] | None


def register(app: typer.Typer) -> None:
    app.command()(spread(compare))


def compare(
    *,
    names: Annotated[Urls, typer.Argument(metavar="A B [C…]", help="Targets of the plan, the baseline first.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", metavar="FILE", help="A plan with two targets or more.")] = None,
    baseline: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI base URL to compare with.")] = None,
    candidate: Annotated[Urls, typer.Option(metavar="URL", help="What is compared with it; repeatable.")] = None,
    direct: Annotated[
        str | None, typer.Option(metavar="URL", help="The upstream itself: tells what the gateways add to it.")
    ] = None,
    model: Model = "default",
    candidate_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to ask the candidates for, where it differs.")
    ] = None,
    direct_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to ask the upstream for, where it differs.")
    ] = None,
    swept: Swept,
    control: Annotated[
        bool | None, typer.Option("--control/--no-control", help="Measure our own responder beside them (off).")
    ] = None,
    min_effect: Annotated[
        float | None, typer.Option(help="Exit 10 when a candidate's interval lies wholly above this share (0.03).")
    ] = None,
    workload: Workload = "",
    slo: Slos = None,
    change: Set = None,
    api_key_env: KeyEnv = "GATEBENCH_API_KEY",
    candidate_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="That of the candidates, where it differs.")
    ] = None,
    direct_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="That of the upstream, where it differs.")
    ] = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    how: How,
) -> int:
    """Targets side by side in the same blocks: who is slower, by how much, and what a gateway adds. Needs no history.

    Example: `gatebench compare --baseline http://127.0.0.1:4000/v1 --candidate http://127.0.0.1:4001/v1 --model m`
    """
    settings = how.enter()
    from config.forms import plan_of, rivals_of, sweep_parts
    from config.plan import load_plan

    given = swept.given()
    overrides = [*([] if min_effect is None else [f"judge.min_effect={min_effect}"]), *(change or [])]
    targets = _targets(baseline, candidate, direct, (model, candidate_model, direct_model))
    targets = _keys(targets, api_key_env, candidate_key_env, direct_key_env)
    parameters: dict[str, Any]
    if plan:
        _only_names(targets)
        sure = [] if control is None else changes_of("control", {"enabled": control})
        overrides = [*changes_of("sweep", given), *sure, *overrides]
        chosen = rivals_of(load_plan(plan, overrides), names or [])
        parameters = {"plan": plan_path(plan), "names": names or []}
    else:
        _need_two(targets, names)
        from config.forms import SweepForm, filled

        form = filled(SweepForm, **given, control=bool(control))
        parts = {**sweep_parts(form), "workload": workload, "slos": slo or []}
        chosen = plan_of(targets, overrides, **parts)
        parameters = {"sweep": form, "workload": workload, "slos": slo or []}

    def call() -> Any:
        from flows.compare import compare as flow

        return flow(targets=targets, **parameters, overrides=overrides, return_state=True)

    return perform(chosen, settings, how, call, dry_run=dry_run, strict=strict, sweep=True)


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
