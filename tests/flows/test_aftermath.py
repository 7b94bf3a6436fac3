"""Runs that ended without a word: what becomes of them in the book, and who hears of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Settings
from flows.aftermath import end_of, settle
from flows.earlier import FLOW_RUNS
from storage.files import RunFiles
from storage.records import Run
from tests.fakes import records
from tests.fakes.house import House
from tests.fakes.receivers import Receiver

ME = "0198c9d5-0000-7000-8000-000000000001"
DEAD = 2**22 + 1  # above the highest process id of Linux


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.stop()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def settings(house: House, receiver: Receiver) -> Settings:
    return Settings(home=house.settings.home, alert_urls=receiver.url())


def begun(house: House, name: str = "20260601T020000Z-nightly-0000") -> Run:
    """A night whose process is gone."""
    run = records.begun(
        run_id=name,
        started_at="2026-06-01T02:00:00+00:00",
        plan=house.plan.model_dump(mode="json"),
        environment={FLOW_RUNS: [ME]},
        path=str(house.settings.runs_path / name),
    )
    house.book.start_run(run, pid=DEAD)
    return run


def titles(receiver: Receiver) -> list[str]:
    return [message["title"] for _, message in receiver.got]


def test_a_run_whose_process_is_gone_is_marked_and_told_once(house, settings, receiver):
    run = begun(house)
    assert settle(settings) == [run.run_id]
    assert settle(settings) == []
    kept = house.book.run(run.run_id)
    assert (kept.status, RunFiles(settings.runs_path, run.run_id).read_run()) == ("interrupted", kept)
    assert titles(receiver) == ["gatebench: nightly failed"]


def test_a_run_that_another_command_has_marked_is_told_too_and_one_that_goes_on_is_not(house, settings, receiver):
    run = begun(house)
    house.book.mark_interrupted(lambda pid: False)
    assert settle(settings, goes_on=run.run_id) == []
    assert titles(receiver) == []
    assert settle(settings) == []
    assert titles(receiver) == ["gatebench: nightly failed"]


def test_a_run_that_is_being_measured_is_left_alone(house, settings, receiver):
    begun(house)
    assert settle(settings, works=lambda pid: True) == []
    assert titles(receiver) == []


def test_a_plan_that_nobody_can_read_any_more_holds_up_no_night(house, settings, receiver):
    house.book.start_run(replace(begun(house), run_id="20260602T020000Z-nightly-0001", plan={"odd": 1}), pid=DEAD)
    assert len(settle(settings)) == 2
    assert titles(receiver) == ["gatebench: nightly failed"]


def test_the_end_of_a_prefect_run_is_told_of_its_run_and_once(house, settings, receiver):
    begun(house)
    assert end_of(ME, "nightly gw", True, "killed", settings)
    assert end_of(ME, "nightly gw", True, "killed", settings)
    assert titles(receiver) == ["gatebench: nightly failed"]


def test_one_that_never_came_as_far_as_the_book_is_told_where_nobody_has_typed_it(house, settings, receiver):
    end_of(ME, "nightly gw", False, "nothing answers at http://127.0.0.1:1/v1", settings)
    assert receiver.got == []
    end_of(ME, "nightly gw", True, "nothing answers at http://127.0.0.1:1/v1", settings)
    (message,) = [message for _, message in receiver.got]
    assert message["title"] == "gatebench: nightly gw ended before it measured anything"
    assert message["message"] == "nothing answers at http://127.0.0.1:1/v1"


def test_a_run_that_is_cancelled_is_told_unless_somebody_sat_before_it(house, settings, receiver):
    house.book.update_run(begun(house).run_id, status="cancelled")
    end_of(ME, "nightly gw", False, "cancelled", settings)
    assert receiver.got == []
    end_of(ME, "nightly gw", True, "cancelled", settings)
    assert titles(receiver) == ["gatebench: nightly cancelled"]


def test_the_end_of_a_run_that_has_a_verdict_is_no_news(house, settings, receiver):
    run = begun(house)
    house.book.update_run(run.run_id, status="completed", verdict="unchanged")
    end_of(ME, "nightly gw", True, "its page could not be written", settings)
    assert receiver.got == []
