"""A run that ended before its time: which one goes on, and with what."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from config.limits import Budget
from config.load import Load
from config.settings import Settings
from flows.earlier import FLOW_RUNS, LIBRARIES, ORDER, earlier_try, to_resume, why_not
from flows.opening import _sort_out, go_on
from flows.order import Order, order_from, order_json
from flows.spending import Spending
from storage.errors import UsageError
from storage.files import RunFiles, polars_schema
from storage.machine import environment, fingerprint
from storage.records import Calibration, Run
from storage.store import Book
from tasks.load.leg import ENGINE_VERSION
from tasks.load.spec import BudgetSpec
from tasks.workload import trace
from tasks.workload.builtin import builtin
from tests.fakes import records

ME = "0198c9d5-0000-7000-8000-000000000001"
LEG = records.leg(requests=2, leg_id="a")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def run(settings: Settings, tmp_path: Path, make) -> Run:
    """Interrupted while it was measured, with all that it takes to go on."""
    path = tmp_path / "w.parquet"
    workload_id = trace.write(builtin(), path)
    facts = environment(home=settings.home_path, packages=LIBRARIES, engine_version=ENGINE_VERSION)
    plan = make()
    facts |= {"workload_path": str(path), "tokens_per_word": 1.3, FLOW_RUNS: [ME],
              ORDER: order_json(Order("sweep", plan, sweep=True))}  # fmt: skip
    folder = settings.runs_path / "20261124T033000Z-sweep-0001"
    return records.run(
        run_id=folder.name,
        flow="sweep",
        plan_name="test",
        status="interrupted",
        scheduled=False,
        verdict=None,
        exit_code=None,
        reason="process 7 ended",
        workload_id=workload_id,
        fingerprint=fingerprint(facts),
        plan=plan.model_dump(mode="json"),
        environment=facts,
        path=str(folder),
    )


def test_an_order_comes_back_as_it_was_kept(make):
    order = Order("load", make(), scheduled=True, load=Load(rate_rps=5, arrivals="poisson"), judge=True)
    assert order_from(order_json(order), order.plan.model_dump(mode="json")) == order
    assert "plan" not in order_json(order)


def test_only_what_this_prefect_run_has_begun_and_not_ended_goes_on_by_itself(run):
    other = replace(run, environment={FLOW_RUNS: ["another"]})
    older = replace(run, run_id="older")
    assert earlier_try([other, run, older], ME) is run
    assert earlier_try([other], ME) is None
    assert earlier_try([run], None) is None
    assert earlier_try([replace(run, status="completed"), older], ME) is None  # it has ended: this is another run
    assert earlier_try([replace(run, status="running")], ME) is not None  # killed, and not yet marked


def test_a_run_with_all_it_takes_can_go_on(run, settings):
    assert why_not(run, settings) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "completed"}, "it is whole"),
        ({"status": "failed", "exit_code": 14}, "not one of its requests succeeded"),
        ({"fingerprint": "another"}, "this machine or gatebench is another"),
        ({"workload_id": "another"}, "its workload .* has changed since"),
        ({"environment": {}}, "it was begun by a version that kept no record"),
    ],
)
def test_a_run_that_cannot_go_on_says_why(run, settings, changes, why):
    book = Book(settings.book_path)
    book.start_run(replace(run, **changes))
    with pytest.raises(UsageError, match=f"run {run.run_id} cannot go on: {why}"):
        to_resume("last", book, settings)


def test_a_workload_that_is_gone_is_named(run, settings):
    Path(run.environment["workload_path"]).unlink()
    assert "w.parquet" in str(why_not(run, settings))


def test_a_run_that_is_being_measured_is_left_alone(run, settings):
    book = Book(settings.book_path)
    book.start_run(replace(run, status="running"))
    with pytest.raises(UsageError, match="still being measured"):
        to_resume(run.run_id, book, settings)


def lay(files: RunFiles, leg_id: str, there: int, **closed: object) -> None:
    """A leg on disk; closed only with facts."""
    frame = pl.DataFrame({"leg_id": [leg_id] * there, "target": ["gw"] * there, "output_tokens": [10] * there})
    whole = pl.concat([pl.DataFrame(schema=polars_schema()), frame], how="diagonal_relaxed")
    whole.write_parquet(files.leg_folder(leg_id) / "part-00000.parquet")
    if closed:
        files.write_leg(replace(LEG, leg_id=leg_id, **closed))


def test_whole_legs_stay_and_halves_are_set_aside(tmp_path):
    files = RunFiles(tmp_path, "r1")
    lay(files, "calibration-stream-wire-floor", 5, series="calibration", target="null")
    lay(files, "calibration-plain-wire-floor", 5, series="calibration", target="null")
    lay(files, "first-b1-gw-c1", 2, rows=2)
    lay(files, "first-b1-gw-c4", 3, stopped="interrupted")
    lay(files, "first-b2-gw-c1", 4)
    lay(files, "first-b2-gw-c4", 2, stopped="budget")
    lay(files, "probe-b1-gw-c8", 7, attempt="probe", trial_id="c8")
    lay(files, "probe-load-gw-01", 1, attempt="probe", series="load", trial_id="l1")
    kept, aside = _sort_out(files, [Calibration(True, 0.1, 0.2, 1000.0)], blocks=2)
    assert sorted(kept) == ["calibration-stream-wire-floor", "first-b1-gw-c1", "first-b2-gw-c4", "probe-load-gw-01"]
    assert aside == {"gw": 3 + 4 + 7}
    assert files.begun() == sorted(kept)


async def test_a_run_that_goes_on_says_what_stays(run, settings):
    book = Book(settings.book_path)
    book.start_run(run)
    files = RunFiles(settings.runs_path, run.run_id)
    lay(files, "first-b1-gw-c1", 2, rows=2)
    lay(files, "first-b1-gw-c4", 3)
    said: list[str] = []
    begun = await go_on(run, settings, book, "another", say=said.append)
    assert said == [f"run {run.run_id} goes on: kept 1 leg from before it was interrupted, set 3 rows of others aside"]
    kept = book.run(run.run_id)
    assert (kept.status, kept.resumed, kept.environment[FLOW_RUNS]) == ("running", True, [ME, "another"])
    assert files.read_run() == kept == begun.run
    (one,) = kept.environment["resumed"]
    assert (one["kept"], one["rows_set_aside"], one["status"]) == (1, 3, "interrupted")
    assert list(begun.closed) == ["first-b1-gw-c1"]


def test_what_an_earlier_try_took_is_taken_from_the_budget(tmp_path):
    files = RunFiles(tmp_path, "r1")
    lay(files, "a", 2)
    budget = Budget(requests=20, output_tokens=100, wall_s=60)
    spent = Spending(budget, files, lambda: 0.0, before=[replace(LEG, duration_s=12.0)], rows_before=5)
    left = spent.left(BudgetSpec())
    assert (left.requests, left.output_tokens, left.wall_s) == (20 - 5 - 2, 100 - 20, 60 - 12)
