"""What compose and systemd start, on a real Postgres: server, `gatebench deploy`, `gatebench worker`, one after another
and each on its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local import auth_string, server, unused_port
from storage.disk import make_folder
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.postgres import postgres, programs
from tests.fakes.prefect_house import GATEBENCH, ask, bare, until

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(300),
    pytest.mark.skipif(programs() is None, reason="no Postgres here (Debian: apt-get install postgresql)"),
]
SERVICES = yaml.safe_load((Path(__file__).parents[2] / "deployments" / "compose.yaml").read_text())["services"]
URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@dataclass(frozen=True)
class Place:
    api: str
    auth: str
    home: Path
    env: dict[str, str]  # of the clients


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("postgres")
    before = {k: v for k, v in os.environ.items() if k.startswith("PREFECT_")}
    with postgres() as url, pytest.MonkeyPatch.context() as patch:
        for name in before:
            patch.delenv(name)
        patch.setenv(URL, url)
        with server(make_folder(folder / "server"), unused_port()) as env:
            auth = auth_string(folder / "server" / "prefect")
            home = make_folder(folder / "worker")
            client = {"PREFECT_API_URL": env["PREFECT_API_URL"], "PREFECT_API_AUTH_STRING": auth}
            yield Place(env["PREFECT_API_URL"], auth, home, {**bare(), **client, "GATEBENCH_HOME": str(home)})
    assert not list((folder / "server" / "prefect").glob("*.db")), "the server kept its history in SQLite after all"


def as_in_compose(service: str, place: Place, plan: Path) -> list[str]:
    """The command of a service, on this machine."""
    words = [str(plan) if word == "/etc/gatebench/plan.toml" else word for word in SERVICES[service]["command"]]
    assert words[0] == "gatebench"
    return [GATEBENCH, *words[1:]]


def test_compose_s_services_deploy_work_and_stop_on_postgres(place: Place, tmp_path: Path) -> None:
    with SimulatorProcess(SimConfig(service_ms=5.0)) as simulator:
        plan = tmp_path / "plan.toml"
        plan.write_text(f'name = "p"\n[[targets]]\nname = "sim"\nurl = "{simulator.url}"\nmodel = "m"\n')
        deploy = as_in_compose("deploy", place, plan)
        done = subprocess.run([*deploy, "--json", "-"], env=place.env, capture_output=True, text=True, check=True)
        assert {"created", "left out"} == {change["how"] for change in json.loads(done.stdout)["changes"]}

        async def plans(client: Any) -> Any:
            return (await client.read_deployment_by_name("nightly/nightly")).parameters["plan"]

        assert ask(place.api, place.auth, plans) == str(plan)
        parameters = {
            "target": {"name": "sim", "url": simulator.url, "model": "m"},
            "sweep": {"levels": [2], "requests": 20, "blocks": 5, "control": False},
        }

        async def submit(client: Any) -> Any:
            deployment = await client.read_deployment_by_name("sweep/ad-hoc-sweep")
            return (await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)).id

        async def lose(client: Any) -> Any:
            """A run that an earlier worker of this machine left behind: its process is no flow's."""
            from prefect.states import Running

            deployment = await client.read_deployment_by_name("judge/judge")
            run = await client.create_flow_run_from_deployment(deployment.id, state=Running())
            await client.update_flow_run(run.id, infrastructure_pid=f"{os.uname().nodename}:{os.getpid()}")
            return run.id

        lost, run_id = ask(place.api, place.auth, lose), ask(place.api, place.auth, submit)

        async def states(client: Any) -> Any:
            found = [(await client.read_flow_run(run)).state for run in (lost, run_id)]
            return [state.name for state in found] if found[1].is_final() else None

        worker = subprocess.Popen(
            as_in_compose("worker", place, plan),
            env=place.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            found = until(lambda: ask(place.api, place.auth, states), "the run did not end")
        finally:
            worker.send_signal(signal.SIGTERM)  # as docker stop and systemctl stop do
            said, _ = worker.communicate(timeout=90)
        assert found in (["Crashed", "Measured"], ["Crashed", "Invalid"]), said  # Invalid: the machine was busy
        assert worker.returncode == 0, said
        assert said.rstrip().endswith("stopped"), said
    assert [run.status for run in Book(place.home / "gatebench.duckdb").runs()] == ["completed"]


def test_the_cron_is_scheduled_on_postgres(place: Place) -> None:
    async def scheduled(client: Any) -> bool:
        return any(run.auto_scheduled for run in await client.read_flow_runs())

    until(lambda: ask(place.api, place.auth, scheduled), "no night was ever scheduled", 60)
