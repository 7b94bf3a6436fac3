"""A measurement in which the generator was the limit: its exit code, its headline and its state in Prefect agree."""

import asyncio
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.local import auth_string
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import bare, commands
from tests.fakes.history import quiet_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
# No loop is never late at all.
STRICT = [word for end in ("suspect", "invalid") for word in ("--set", f"health.{end}_loop_lag_p99_ms=0")]


def test_it_is_invalid_in_the_exit_code_the_headline_and_in_prefect(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        quiet_server(tmp_path / "server", tmp_path_factory) as ours,
        SimulatorProcess(SimConfig(slots=0, service_ms=2)) as simulator,
        commands({**bare(), **ours, "GATEBENCH_HOME": str(tmp_path / "home")}, tmp_path) as run,
    ):
        words = ["--url", simulator.url, "--model", "m", "--concurrency", "1", "--requests", "20", "--blocks", "2"]
        done = run("sweep", *words, "--no-control", *STRICT)
        assert (done.code, done.out[:27]) == (12, "Invalid: the generator was "), done.err
        auth = auth_string(Path(ours["PREFECT_HOME"]))

        async def states() -> list[str]:
            async with get_client() as client:
                return [str(one.state_name) for one in await client.read_flow_runs()]

        with temporary_settings({PREFECT_API_URL: ours["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: auth}):
            assert asyncio.run(states()) == ["Invalid"]
