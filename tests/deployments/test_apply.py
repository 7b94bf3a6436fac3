"""What is deployed, before any server sees it."""

import importlib
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.apply import FILE, read, with_plan
from deployments.local import HARDENED
from deployments.unfinished import _missed, flow_works
from storage.errors import UsageError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def flow_of(entry: dict[str, Any]) -> Any:
    module, _, name = entry["entrypoint"].partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("entry", read(), ids=lambda entry: entry["name"])
def test_a_deployment_sends_only_parameters_that_its_flow_knows_and_each_is_explained_in_the_form(entry):
    flow = flow_of(entry)
    assert set(entry["parameters"]) <= set(inspect.signature(flow.fn).parameters)
    assert all(field.get("description") for field in flow.parameters.properties.values())


def test_the_night_is_not_planned_for_the_hour_that_clock_changes_remove():
    [schedule] = next(entry for entry in read() if entry["name"] == "nightly")["schedules"]
    assert schedule == {"cron": "30 3 * * *", "timezone": "Europe/Berlin"}


def test_a_plan_and_a_cron_go_to_the_nightly_deployment_only():
    before, after = read(), with_plan(read(), "/plans/mine.toml", "15 4 * * 1", None)
    nightly = next(entry for entry in after if entry["name"] == "nightly")
    assert nightly["parameters"]["plan"] == "/plans/mine.toml"
    assert nightly["schedules"] == [{"cron": "15 4 * * 1", "timezone": "Europe/Berlin"}]
    assert [e for e in after if e["name"] != "nightly"] == [e for e in before if e["name"] != "nightly"]


@pytest.mark.parametrize(("cron", "zone"), [("every night", None), ("30 25 * * *", None), (None, "Europe/Nowhere")])
def test_a_cron_or_zone_that_is_none_is_refused_with_an_example(cron, zone):
    with pytest.raises(UsageError, match=r"are like '30 3 \* \* \*' and Europe/Berlin"):
        with_plan(read(), None, cron, zone)


def test_the_shipped_settings_are_those_that_up_sets():
    lines = (FILE.parent / "prefect.env").read_text().splitlines()
    shipped = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert shipped == {**HARDENED, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}


@pytest.mark.parametrize(
    ("scheduled_by_cron", "due", "missed"),
    [
        (True, NOW - timedelta(hours=8), True),
        (True, NOW - timedelta(minutes=10), False),
        (True, NOW + timedelta(hours=8), False),
        (False, NOW - timedelta(hours=8), False),
    ],
)
def test_only_a_night_long_due_is_missed_and_what_a_person_asked_for_still_runs(scheduled_by_cron, due, missed):
    run = FlowRun(flow_id=uuid4(), auto_scheduled=scheduled_by_cron, next_scheduled_start_time=due)
    assert _missed(run, NOW) is missed


def test_a_process_id_that_something_else_has_by_now_is_no_running_flow(tmp_path: Path):
    for pid, command in {"11": b"python\0-m\0prefect.engine\0", "12": b"bash\0"}.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(command)
    works = {pid: flow_works(pid, tmp_path) for pid in ("11", "host:11", "12", "13", "", "../11")}
    assert works == {"11": True, "host:11": True, "12": False, "13": False, "": False, "../11": False}
