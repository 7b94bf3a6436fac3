"""The server watches: a process killed, a heartbeat lost, a night that did not happen; and it tells by itself."""

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect.events.clients import get_events_client
from prefect.events.schemas.events import Event
from prefect.states import Completed, Running

from deployments.automations import NO_NIGHT, read, wanted
from flows.aftermath import TOLD
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.history import laid_out
from tests.fakes.prefect_house import House, until, up
from tests.fakes.receivers import Receiver

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
SECONDS = 15  # without a night: a small day


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[House]:
    env = {"GATEBENCH_ALERT_URLS": receiver.url()}
    place = tmp_path_factory.mktemp("watched")
    laid_out(place / "home", tmp_path_factory)
    with up(place, "--no-night-after", str(SECONDS / 3600), env=env) as house:
        yield house


@pytest.fixture(scope="module")
def lost(house: House) -> list[Any]:
    """Two runs that were heard of once; the second then ended. Made first, for it takes a while to miss them."""

    async def lose(client: Any) -> list[Any]:
        await hasten(client, "gatebench: heartbeat lost")
        await hasten(client, "gatebench: failed or crashed")
        deployment = await client.read_deployment_by_name("judge/judge")
        runs = [
            await client.create_flow_run_from_deployment(deployment.id, state=Running(), name=name)
            for name in ("silent", "measured")
        ]
        async with get_events_client() as events:
            for run in runs:
                await events.emit(heartbeat(run.id))
        await client.set_flow_run_state(runs[1].id, Completed(name="Measured"))
        return [run.id for run in runs]

    found: list[Any] = house.ask(lose)
    return found


async def hasten(client: Any, name: str) -> None:
    """Let an automation wait ten seconds, the least that Prefect takes."""
    [held] = await client.read_automations_by_name(name)
    entry = next(entry for entry in read() if entry["name"] == name)
    entry["trigger"]["within"] = timedelta(seconds=10)
    [action] = held.actions
    await client.update_automation(held.id, wanted(entry, getattr(action, "block_document_id", None), held))


def heartbeat(run_id: Any) -> Event:
    """As a flow of ours sends it."""
    return Event(
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        related=[{"prefect.resource.id": "prefect.tag.gatebench", "prefect.resource.role": "tag"}],
    )


def titles(receiver: Receiver) -> list[str]:
    return [message["title"] for _, message in receiver.got]


def test_a_run_whose_process_is_killed_is_told_by_its_worker_which_says_so(
    house: House, receiver: Receiver, lost: list[Any]
) -> None:
    with SimulatorProcess(SimConfig(service_ms=20.0)) as simulator:
        parameters = {
            "target": {"name": "gone", "url": simulator.url, "model": "m"},
            "sweep": {"levels": [1], "requests": 5000, "blocks": 5, "control": False},
        }

        async def submit(client: Any) -> Any:
            deployment = await client.read_deployment_by_name("sweep/ad-hoc-sweep")
            return (await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)).id

        run_id = house.ask(submit)

        async def pid(client: Any) -> int | None:
            run = await client.read_flow_run(run_id)
            running = run.state is not None and run.state.is_running()
            return int(run.infrastructure_pid.rpartition(":")[2]) if running and run.infrastructure_pid else None

        os.kill(until(lambda: house.ask(pid), "the run never started"), signal.SIGKILL)
        # The worker tells of it by the flow's name, or by the plan's where the kill came after the first row.
        by_worker = re.compile(r"gatebench: .*(before it measured anything|failed)$")
        until(lambda: any(map(by_worker.match, titles(receiver))), "nobody was told")

    async def told(client: Any) -> bool:
        """By the worker, so that the server need not."""
        answer = await client._client.post("/events/filter", json={"filter": {"event": {"name": [TOLD]}}})
        return [event["resource"]["prefect.resource.id"] for event in answer.json()["events"]] == [
            f"prefect.flow-run.{run_id}"
        ]

    until(lambda: house.ask(told), "the server was not told that somebody knows")


def test_a_run_that_is_not_heard_of_any_more_is_marked_and_told_by_the_server_and_one_that_ended_is_not(
    house: House, receiver: Receiver, lost: list[Any]
) -> None:
    async def states(client: Any) -> list[str]:
        return [(await client.read_flow_run(run)).state.name for run in lost]

    until(lambda: house.ask(states) == ["Crashed", "Measured"], "the silent run was not marked")
    until(lambda: "gatebench: silent crashed" in titles(receiver), "nobody was told")
    message = next(m for _, m in receiver.got if m["title"] == "gatebench: silent crashed")
    assert "silent (judge) ended as Crashed, without a verdict:\nnot heard of for five minutes" in message["message"]
    assert f"{house.api.removesuffix('/api')}/runs/flow-run/{lost[0]}" in message["message"]
    assert "gatebench: measured crashed" not in titles(receiver)


def test_a_night_that_does_not_happen_is_told_by_the_server(house: House, receiver: Receiver) -> None:
    until(lambda: "gatebench: no night of nightly" in titles(receiver), "nobody was told")
    message = next(m for _, m in receiver.got if m["title"] == "gatebench: no night of nightly")
    assert "No run of nightly has completed for 15 seconds" in message["message"]
    assert f"{house.api.removesuffix('/api')}/deployments/deployment/" in message["message"]  # where to look


def test_deploying_again_undoes_edits_of_automations_and_changes_nothing_else_but_what_is_asked_for(
    house: House, receiver: Receiver
) -> None:
    """After the others: they have edited automations."""
    done = house.gatebench("deploy", env={"GATEBENCH_ALERT_URLS": receiver.url()})
    assert changed(done.stdout) == [
        "changed    automation gatebench: heartbeat lost (trigger)",
        "changed    automation gatebench: failed or crashed (trigger)",
    ]
    assert f"unchanged  automation {NO_NIGHT}" in done.stdout
    done = house.gatebench("deploy", "--no-night-after", "30")  # without addresses, the server keeps those that it has
    assert changed(done.stdout) == [f"changed    automation {NO_NIGHT} (trigger)"]
    assert "unchanged  notification block gatebench-alerts" in done.stdout


def changed(said: str) -> list[str]:
    return [line for line in said.splitlines() if not line.startswith("unchanged")]


def test_the_server_lets_nobody_in_without_its_password_and_no_other_page_at_all(house: House) -> None:
    import httpx

    from deployments.local import auth_string

    auth = tuple(auth_string(house.home / "prefect").split(":", 1))
    assert (house.home / "prefect" / "auth").stat().st_mode & 0o077 == 0
    assert httpx.get(f"{house.api}/block_documents/").status_code == 401
    assert httpx.get(f"{house.api}/admin/version", auth=auth).status_code == 200
    page = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{house.api}/flows/", headers=page).headers
    # Without the token that a page of the server has asked for, not even with the password.
    assert httpx.post(f"{house.api}/deployments/filter", json={}, auth=auth).status_code == 403
    assert not any("gatebench:" in line for line in house.said), "the password is printed"
