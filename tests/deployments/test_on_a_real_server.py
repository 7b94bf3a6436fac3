"""`gatebench up` for real: a Prefect server, the deployments and a worker, and what comes of them."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployments.local import auth_string
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Server:
    api: str
    home: Path
    process: "subprocess.Popen[str]"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Started in a folder whose own `config` package and `tasks.py` must not be taken for ours."""
    folder = tmp_path_factory.mktemp("foreign")
    home = folder / "home"
    home.mkdir()
    for place in (folder, home):
        (place / "config").mkdir()
        (place / "config" / "__init__.py").write_text("raise SystemExit('shadowed')")
        (place / "tasks.py").write_text("raise SystemExit('shadowed')")
    (folder / "gatebench.toml").write_text("flush_s = 0.5")
    port = free_port()
    command = [str(Path(sys.executable).parent / "gatebench"), "up", "--port", str(port), "--home", str(home)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    assert "first run here" in said[0] and "Prefect's pages" in said[1], said
    yield Server(f"http://127.0.0.1:{port}/api", home, process)
    process.send_signal(signal.SIGINT)
    process.wait(60)


def ask(server: Server, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """`work(client)` against the server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    async def go() -> Any:
        async with get_client() as client:
            return await work(client)

    auth = auth_string(server.home / "prefect")
    with temporary_settings({PREFECT_API_URL: server.api, PREFECT_API_AUTH_STRING: auth}):
        return asyncio.run(go())


def test_the_nightly_cron_has_a_scheduled_run_within_thirty_seconds(server: Server) -> None:
    async def scheduled(client: Any) -> list[str]:
        return [run.state.name for run in await client.read_flow_runs() if run.state is not None]

    deadline = time.monotonic() + 30
    while "Scheduled" not in ask(server, scheduled):
        assert time.monotonic() < deadline, "no run was ever scheduled: is SQLAlchemy pinned below 2.1?"
        time.sleep(1)


def test_deploying_again_changes_nothing(server: Server) -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "gatebench"), "deploy", "--home", str(server.home)],
        env={**os.environ, "PREFECT_API_URL": server.api},
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line for line in found.stdout.splitlines() if not line.startswith("unchanged")]
    assert [line.partition("  ")[0] for line in told] == ["left out", "left out"], found.stdout
    assert all("nobody to tell: set GATEBENCH_ALERT_URLS" in line for line in told)


def test_an_ad_hoc_sweep_runs_through_the_worker_and_leaves_its_artifacts(server: Server) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with SimulatorProcess(SimConfig(service_ms=5.0)) as simulator:
        parameters = {
            "target": {"name": "sim", "url": simulator.url, "model": "m"},
            "sweep": {"levels": [1, 2], "requests": 20, "blocks": 5, "control": False},
        }

        async def submit(client: Any) -> Any:
            deployment = await client.read_deployment_by_name("sweep/ad-hoc-sweep")
            run = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
            for _ in range(180):
                found = await client.read_flow_run(run.id)
                if found.state is not None and found.state.is_final():
                    artifacts = await client.read_artifacts(
                        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
                    )
                    return found.state, {a.key: a.data for a in artifacts if a.key}  # without: results
                await asyncio.sleep(1)
            raise AssertionError("the run did not end within three minutes")

        state, artifacts = ask(server, submit)
    [run] = Book(server.home / "gatebench.duckdb").runs()
    assert (run.flow, run.status) == ("sweep", "completed")
    assert run.exit_code in (0, 12)  # 12: the machine was busy
    name, said = ("Invalid", "Invalid: the generator was") if run.exit_code else ("Measured", "Measured, not judged")
    assert (state.type.value, state.name) == ("COMPLETED", name), state.message
    assert set(artifacts) == {"gatebench-verdict", "gatebench-estimates", "gatebench-report", "gatebench-progress"}
    assert said in artifacts["gatebench-verdict"]
    assert "data:image/" in artifacts["gatebench-verdict"]
    assert list(json.loads(artifacts["gatebench-estimates"])[0]) == ["number", "1 concurrent", "2 concurrent"]
    assert artifacts["gatebench-progress"] == 100
    assert run.report is not None and Path(run.report).is_file()


def test_a_port_that_is_taken_is_refused(server: Server, tmp_path: Path) -> None:
    port = server.api.rsplit(":", 1)[1].removesuffix("/api")
    found = subprocess.run(
        [str(Path(sys.executable).parent / "gatebench"), "up", "--port", port, "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert f"port {port} is taken" in found.stderr


def test_deploying_says_what_it_changed_and_refuses_what_is_no_prefect_server(server: Server) -> None:
    def deploy(api: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).parent / "gatebench"), "deploy", "--home", str(server.home), *options]
        env = {**os.environ, "PREFECT_API_URL": api}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert "changed    nightly/nightly (schedule)" in deploy(server.api, "--cron", "0 5 * * *").stdout
    found = deploy(server.api.removesuffix("/api"))
    assert (found.returncode, "ending in /api?" in found.stderr) == (2, True), found.stderr
    found = deploy("")
    assert (found.returncode, "set PREFECT_API_URL" in found.stderr) == (2, True), found.stderr


def test_a_run_whose_process_is_gone_is_closed_so_that_it_blocks_no_later_one(server: Server) -> None:
    from prefect.states import Running

    from deployments.unfinished import close

    async def lose(client: Any) -> str:
        deployment = await client.read_deployment_by_name("judge/judge")
        run = await client.create_flow_run_from_deployment(deployment.id, state=Running())
        assert run.name not in await close("gatebench", lambda pid: True)
        assert await close("gatebench", lambda pid: False) == [run.name]
        return str((await client.read_flow_run(run.id)).state.name)

    assert ask(server, lose) == "Crashed"


def test_ctrl_c_cancels_the_run_under_way_and_leaves_no_process_behind(server: Server) -> None:
    """Last: it ends the server."""
    book = Book(server.home / "gatebench.duckdb")
    with SimulatorProcess(SimConfig(service_ms=20.0)) as simulator:
        parameters = {
            "target": {"name": "long", "url": simulator.url, "model": "m"},
            "sweep": {"levels": [1], "requests": 5000, "blocks": 5, "control": False},
        }

        async def submit(client: Any) -> None:
            deployment = await client.read_deployment_by_name("sweep/ad-hoc-sweep")
            await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

        ask(server, submit)
        deadline = time.monotonic() + 60
        while "running" not in {run.status for run in book.runs()}:
            assert time.monotonic() < deadline, "the run never started"
            time.sleep(0.5)
        ours = {pid: text for pid, text in processes().items() if f"GATEBENCH_HOME={server.home}" in text}
        assert len(ours) >= 4  # server, worker, flow, what the flow measures with
        flows = [text for text in ours.values() if "PREFECT__FLOW_RUN_ID" in text]
        assert all(f"GATEBENCH_SETTINGS={server.home.parent / 'gatebench.toml'}" in text for text in flows)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)  # an impatient second one changes nothing
        assert server.process.wait(90) == 0
    left = {pid for pid, text in processes().items() if f"GATEBENCH_HOME={server.home}" in text}
    assert left == set()
    with sqlite3.connect(server.home / "prefect" / "prefect.db") as history:
        states = [row[0] for row in history.execute("select state_type from flow_run order by start_time")]
    assert "CANCELLED" in states
    assert not {"RUNNING", "PENDING", "CANCELLING"} & set(states)
    assert sorted(run.status for run in book.runs()) == ["cancelled", "completed"]


def processes() -> dict[int, str]:
    """pid -> environment, of every process that we may look into."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                found[int(folder.name)] = (folder / "environ").read_text(errors="replace")
            except OSError:
                continue
    return found
