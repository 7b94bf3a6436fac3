"""A run that ended before its time, gone on with from the terminal."""

import typer

from flows import cli_common as common
from flows.cli_common import Run, Strict
from flows.cli_options import How, spread


def register(app: typer.Typer) -> None:
    app.command()(spread(resume))


def resume(
    *,
    run: Run = "last",
    strict: Strict = False,
    how: How,
) -> int:
    """Go on with a run that was interrupted, cancelled or failed: what is whole is not measured again.

    It is judged as it would have been, says that it was resumed, and never enters a baseline.

    Example: `gatebench resume last`
    """
    settings = how.enter()
    common.quiet_prefect(settings.home_path)
    from config.plan import Plan
    from flows.cli_perform import finish, told_to_ci
    from flows.earlier import to_resume
    from flows.ground import check_hosts
    from flows.resume import resume as flow
    from storage.store import Book

    found = to_resume(run, Book(settings.book_path, settings.book_wait_s), settings)
    with told_to_ci(found.plan_name, how.junit):
        plan = Plan.model_validate(found.plan)
        check_hosts(plan, settings)
        probed = common.reach(plan, settings)
        data = common.run_flow(lambda: flow(found.run_id, return_state=True), how.quiet, probed)
    return finish(data, settings, how, strict)
