"""What every measuring command does once it knows what to measure: forecast, ask the target, run, tell."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import cli_common as common
from flows.cli_options import How

if TYPE_CHECKING:
    from config.load import Load
    from config.plan import Plan
    from config.settings import Settings


def perform(
    plan: "Plan",
    settings: "Settings",
    how: How,
    call: Callable[[], Awaitable[Any]],
    *,
    dry_run: bool = False,
    strict: bool = False,
    sweep: bool = False,
    replay: bool = False,
    load: "Load | None" = None,
    ceiling: bool = False,
) -> int:
    """Measure `plan` by `call`, which gives a flow's state; the exit code. CI hears of it however it ends.

    `sweep`, `replay`, `load`, `ceiling`: the parts that the flow measures, for the forecast.
    """
    with told_to_ci(plan.name, how.junit):
        foretell(plan, settings, sweep=sweep, replay=replay, load=load, ceiling=ceiling, quiet=how.quiet)
        if dry_run:
            return 0
        probed = common.reach(plan, settings)
        data = common.run_flow(call, how.quiet, probed)
    return finish(data, settings, how, strict)


def finish(data: dict[str, Any], settings: "Settings", how: How, strict: bool = False) -> int:
    """Write what was asked for; the run's exit code."""
    from flows import ci
    from flows.outputs import run_json
    from tasks.publish import view_of

    if how.json is not None:
        common.write_json(how.json, run_json(view_of(data["run_id"], settings)))
    if ci.wanted(how.junit):
        ci.tell_run(view_of(data["run_id"], settings), how.junit)
    common.show_run(data["run_id"], settings, json_to=how.json, quiet=how.quiet)
    code = int(data["exit_code"])
    return 17 if strict and code == 0 and data["verdict"] == "inconclusive" else code


@contextmanager
def told_to_ci(name: str, junit: Path | None) -> Iterator[None]:
    """A run that ends without a result is an error in CI's own words too."""
    from storage.errors import GatebenchError

    try:
        yield
    except GatebenchError as error:
        from flows import ci

        if ci.wanted(junit):
            ci.tell_error(name, str(error), junit)
        raise


def foretell(
    plan: "Plan",
    settings: "Settings",
    *,
    quiet: bool,
    sweep: bool = False,
    replay: bool = False,
    load: "Load | None" = None,
    ceiling: bool = False,
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
    cost = forecast(plan, workload.frame, sweep=sweep, replay=replay, load=load, ceiling=ceiling)
    if not quiet:
        common.tell(f"this run: {cost.in_words()}")
    for warning in afford(cost, plan.budget):
        if not quiet:
            common.tell(warning)
