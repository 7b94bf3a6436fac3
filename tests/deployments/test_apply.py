"""What is deployed, before any server sees it."""

import importlib
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from deployments.local import HARDENED
from deployments.shipped import FILE, Asked, ask, for_prefect, read, wanted
from deployments.unfinished import _missed, flow_works
from storage.errors import UsageError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
KNOWN = ["plan", "target", "overrides", "scheduled"]


def flow_of(entry: dict[str, Any]) -> Any:
    module, _, name = entry["entrypoint"].partition(":")
    return getattr(importlib.import_module(module), name)


def named(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def on_server(**facts: Any) -> DeploymentResponse:
    return DeploymentResponse(id=uuid4(), name="nightly", flow_id=uuid4(), **facts)


def cron(text: str, active: bool = True) -> DeploymentSchedule:
    return DeploymentSchedule(schedule=CronSchedule(cron=text, timezone="Asia/Tokyo"), active=active)


@pytest.mark.parametrize("entry", read(), ids=lambda entry: entry["name"])
def test_a_deployment_sends_only_parameters_that_its_flow_knows_and_each_is_explained_in_the_form(entry):
    flow = flow_of(entry)
    assert set(entry["parameters"]) <= set(inspect.signature(flow.fn).parameters)
    assert all(field.get("description") for field in flow.parameters.properties.values())


@pytest.mark.parametrize("entry", read(), ids=lambda entry: entry["name"])
def test_a_deployment_begins_with_what_it_does_and_its_process_takes_no_foreign_module_for_ours(entry):
    assert entry["description"].startswith("**")
    assert entry["work_pool"]["job_variables"]["env"]["PYTHONSAFEPATH"] == "1"
    assert "gatebench" in entry["tags"]


def test_every_flow_that_a_user_may_start_has_a_deployment():
    flows = {"nightly", "sweep", "ceiling", "replay", "load", "compare", "aa", "capture", "judge"}
    assert {entry["entrypoint"] for entry in read()} == {f"flows.{name}:{name}" for name in flows}


def test_no_night_is_planned_for_the_hour_that_clock_changes_remove_and_the_dear_one_is_off():
    when = {entry["name"]: entry["schedules"] for entry in read() if "schedules" in entry}
    assert when == {
        "nightly": [{"cron": "30 3 * * *", "timezone": "Europe/Berlin"}],
        "weekly-long": [{"cron": "30 5 * * 0", "timezone": "Europe/Berlin", "active": False}],
    }


def test_a_plan_goes_to_all_nights_and_a_cron_to_the_nightly_one():
    entries = ask(read(), Asked(plan="/plans/mine.toml", cron="15 4 * * 1"))
    asked = {entry["name"]: entry["asked"] for entry in entries if any(entry["asked"].values())}
    assert asked == {
        "nightly": {"parameters": {"plan": "/plans/mine.toml"}, "schedule": {"cron": "15 4 * * 1"}},
        "weekly-long": {"parameters": {"plan": "/plans/mine.toml"}, "schedule": {}},
    }


def test_a_night_for_each_target_switches_the_common_one_off():
    entries = ask(read(), Asked(plan="/p.toml", targets=("EU gateway", "us")))
    nights = {entry["name"]: entry["asked"] for entry in entries if "nightly" in entry["tags"]}
    assert nights == {
        "nightly": {"parameters": {"plan": "/p.toml"}, "schedule": {"active": False}},
        "nightly-eu-gateway": {"parameters": {"plan": "/p.toml", "target": "EU gateway"}, "schedule": {}},
        "nightly-us": {"parameters": {"plan": "/p.toml", "target": "us"}, "schedule": {}},
    }
    made = wanted(named("nightly-us", entries), None, KNOWN)
    assert made.schedules == [{"active": True, "cron": "30 3 * * *", "timezone": "Europe/Berlin"}]
    assert "**us**" in named("nightly-us", entries)["description"]


def test_what_an_operator_has_set_outlives_a_deploy_that_does_not_speak_of_it():
    held = on_server(
        parameters={"plan": "/plans/mine.toml", "gone": 1},
        schedules=[cron("0 5 * * *", active=False)],
        tags=["gatebench", "mine"],
        job_variables={"working_dir": "/srv", "env": {"GATEBENCH_ALLOWED_HOSTS": "gw", "PYTHONSAFEPATH": "0"}},
    )
    found = wanted(named("nightly", ask(read(), Asked())), held, KNOWN)
    assert found.parameters == {"plan": "/plans/mine.toml"}
    assert found.schedules is None
    assert found.tags == ["gatebench", "nightly", "mine"]
    assert found.job_variables["working_dir"] == "/srv"
    assert found.job_variables["env"]["GATEBENCH_ALLOWED_HOSTS"] == "gw"
    assert found.job_variables["env"]["PYTHONSAFEPATH"] == "1"


def test_an_option_changes_what_it_names_and_nothing_beside_it():
    held = on_server(parameters={"plan": "/plans/mine.toml", "scheduled": False}, schedules=[cron("0 5 * * *", False)])
    found = wanted(named("nightly", ask(read(), Asked(cron="0 6 * * *"))), held, KNOWN)
    assert found.parameters == {"plan": "/plans/mine.toml", "scheduled": False}
    assert found.schedules == [{"active": False, "cron": "0 6 * * *", "timezone": "Asia/Tokyo"}]
    found = wanted(named("nightly", ask(read(), Asked(plan="/other.toml"))), held, KNOWN)
    assert (found.parameters, found.schedules) == ({"plan": "/other.toml", "scheduled": False}, None)


def test_a_reset_is_what_the_file_says():
    held = on_server(parameters={"plan": "/plans/mine.toml"}, schedules=[cron("0 5 * * *")], tags=["mine"])
    found = wanted(named("nightly", ask(read(), Asked())), held, KNOWN, reset=True)
    assert (found.parameters, found.tags) == ({"plan": "nightly"}, ["gatebench", "nightly"])
    assert found.schedules == [{"active": True, "cron": "30 3 * * *", "timezone": "Europe/Berlin"}]


@pytest.mark.parametrize(("text", "zone"), [("every night", None), ("30 25 * * *", None), (None, "Europe/Nowhere")])
def test_a_cron_or_zone_that_is_none_is_refused_with_an_example(text, zone):
    with pytest.raises(UsageError, match=r"are like '30 3 \* \* \*' and Europe/Berlin"):
        ask(read(), Asked(cron=text, timezone=zone))


def test_a_schedule_that_is_off_reaches_prefect_as_such():
    [made] = for_prefect([{"cron": "30 5 * * 0", "timezone": "Europe/Berlin", "active": False}])
    assert (made["schedule"].cron, made["schedule"].timezone, made["active"]) == ("30 5 * * 0", "Europe/Berlin", False)


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
