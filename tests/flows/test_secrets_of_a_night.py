"""Whole nights with a key, a salt and channels whose addresses are secret, from the command line and through a worker
of a real server, and one that raises with the key in its hands: nothing of them is in anything that is said, sent to
somebody else, or written."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import config
from deployments.local import auth_string
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import COMMAND, bare
from tests.fakes.prefect_house import House, until, up
from tests.fakes.receivers import Receiver
from tests.fakes.written import given_away, left_behind

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]
SAMPLE = Path(config.__file__).parent / "samples" / "litellm.jsonl.gz"
# Put together here, so that no scanner takes them for real.
KEY = "sk-canary-" + "7c1e94d2a05b" * 3
OTHER_KEY = "sk-canary-" + "03d8f6ab21c9" * 3
SALT = "canary-salt-" + "5f3b8e21" * 3
HOOK = "canary-hook-" + "a91d04c7" * 3
PASSWORD = "canarypass" + "66e2f0b9" * 2
BROKEN = f"json://night:{PASSWORD}@127.0.0.1:1/{HOOK}"  # a channel: its attempts take 12 s
SECRETS = [KEY, OTHER_KEY, SALT, HOOK, PASSWORD]
PLAN = """
name = "canary"
slos = ["mean(latency){{level=1}} < 0.001ms"]
[[targets]]
name = "gw"
url = "{url}"
model = "m"
api_key_env = "{variable}"
[capture]
sources = ["{sample}"]
privacy = "structure"
[sweep]
levels = [1]
requests = 9
blocks = 3
[replay]
window = "0:2s"
speed = 10
[control]
enabled = false
"""


# A package that brings a log format, whose code fails: the frames of its traceback hold the key.
PACKAGE = """
import os

class Failing:
    name = "failing"
    arrival_basis = "none"

    def recognises(self, head):
        return any(line.startswith(b"failing") for line in head)

    def read(self, lines):
        return opened(os.environ["GATEBENCH_KEY_NIGHT"])

def opened(key):
    return iter({key: "a log that only the key opens"}["of this log"])
"""


@dataclass
class Night:
    """What was said and written, the plan and the logs left out; the alerts that came."""

    said: dict[str, bytes]
    folder: Path
    got: list[tuple[str, dict[str, Any]]]

    def left(self) -> dict[str, bytes]:
        return self.said | left_behind(self.folder)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(SimConfig(slots=0, service_ms=1), api_key=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    """Of the alerts of the command line's nights, and of the worker's, each on a port of its own."""
    both = Receiver(), Receiver()
    yield both
    for one in both:
        one.stop()


def secret_settings(*channels: str) -> dict[str, str]:
    """Of the machine: channels with a secret in their address, and a salt."""
    return {"GATEBENCH_ALERT_URLS": " ".join(channels), "GATEBENCH_SALT": SALT}


def plan(folder: Path, simulator: SimulatorProcess, variable: str) -> Path:
    file = folder / "canary.toml"
    file.write_text(PLAN.format(url=simulator.url, sample=SAMPLE, variable=variable))
    return file


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, simulator: SimulatorProcess, receivers: tuple[Receiver, Receiver]
) -> Iterator[House]:
    """A server and its worker, whose environment holds another key than the nights need."""
    folder = tmp_path_factory.mktemp("worker")
    installed = installed_in(folder / "site")
    env = {
        **secret_settings(receivers[1].url(HOOK), BROKEN),
        "GATEBENCH_API_KEY": OTHER_KEY,
        "PYTHONPATH": str(installed),
    }
    with up(folder, "--plan", str(plan(folder, simulator, "GATEBENCH_KEY_NIGHT")), env=env) as house:
        yield house


def installed_in(site: Path) -> Path:
    info = site / "failing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gatebench.formats]\nfailing = failing:Failing\n")
    (site / "failing.py").write_text(PACKAGE)
    return site


@pytest.fixture(scope="module")
def by_command(
    tmp_path_factory: pytest.TempPathFactory,
    simulator: SimulatorProcess,
    house: House,
    receivers: tuple[Receiver, Receiver],
) -> Night:
    """A night from the command line, the key in the environment; and one whose key is refused."""
    folder = tmp_path_factory.mktemp("command")
    file = plan(folder, simulator, "GATEBENCH_API_KEY")
    mine = {"GATEBENCH_HOME": str(folder / "home"), "PREFECT_HOME": str(folder / "home" / "prefect")}
    server = {"PREFECT_API_URL": house.api, "PREFECT_API_AUTH_STRING": auth_string(house.home / "prefect")}
    said = {}
    for key, code in ((KEY, 11), (f"{KEY}-wrong", 13)):
        words = [*COMMAND, "nightly", "--plan", str(file), "--json", str(folder / f"{code}.json")]
        env = {**bare(), **secret_settings(receivers[0].url(HOOK)), **mine, **server, "GATEBENCH_API_KEY": key}
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, umask=0, check=False)
        assert done.returncode == code, done.stderr.decode()
        said |= {f"stdout of {code}": done.stdout, f"stderr of {code}": done.stderr}
    return Night(said, folder, list(receivers[0].got))


@pytest.fixture(scope="module")
def by_worker(house: House, by_command: Night, receivers: tuple[Receiver, Receiver]) -> Night:
    """A night through a worker, the key in a Secret block; and one that raises. Their server has the other's too."""
    folder = house.home.parent
    (folder / "junk.log").write_text("failing\n")
    raising = ["name=other", f'capture.sources=["{folder / "junk.log"}"]']
    house.ask(_keep_key)
    states = [_run(house, []), _run(house, raising)]
    assert states[0].name in ("Inconclusive", "Invalid"), states  # Invalid: the machine was busy
    assert states[1].name == "Failed", states
    logs = until(lambda: _with(house.ask(_logs), "Traceback"), "no traceback came")
    said = {"states": repr(states).encode(), "logs": logs.encode(), "up": "\n".join(house.said).encode()}
    return Night(said, folder, list(receivers[1].got))


async def _keep_key(client: Any) -> None:
    from prefect.blocks.system import Secret

    await Secret(value=KEY).save("gatebench-key-night", client=client)


async def _logs(client: Any) -> str:
    from prefect.client.schemas.filters import LogFilter

    return "\n".join(log.message for log in await client.read_logs(LogFilter(), limit=200))


def _with(text: str, word: str) -> str:
    return text if word in text else ""


def _run(house: House, overrides: list[str]) -> Any:
    async def go(client: Any) -> Any:
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        deployment = next(
            d for d in await client.read_deployments() if (flows[d.flow_id], d.name) == ("nightly", "nightly")
        )
        run = await client.create_flow_run_from_deployment(deployment.id, parameters={"overrides": overrides})
        for _ in range(300):
            found = await client.read_flow_run(run.id)
            if found.state is not None and found.state.is_final():
                return found.state
            await asyncio.sleep(0.5)
        raise AssertionError("the run did not end")

    return house.ask(go)


def test_a_night_from_the_command_line_shows_its_secrets_to_nobody(by_command: Night):
    left = by_command.left()
    kinds = {Path(name).suffix for name in left}
    assert kinds >= {".duckdb", ".parquet", ".json", ".jsonl", ".html"}
    assert given_away(left, SECRETS) == []
    assert b"was refused" in by_command.said["stderr of 13"]


def test_a_night_through_a_worker_shows_its_secrets_to_nobody(by_worker: Night):
    left = by_worker.left()
    assert {Path(name).name for name in left} >= {"worker.log", "server.log", "prefect.db", "gatebench.duckdb"}
    assert given_away(left, SECRETS) == []


def test_what_is_written_of_a_night_that_raises_has_its_traceback_and_not_the_key(by_worker: Night):
    told = [name for name, held in by_worker.left().items() if b"""return iter({key: "a log that""" in held]
    assert {Path(name).name for name in told} >= {"worker.log", "prefect.db", "logs"}
    assert b"in opened" in by_worker.said["logs"]
    assert any("KeyError" in json.dumps(body) for _, body in by_worker.got), "nobody was told"


def test_the_alert_came_and_holds_no_secret_but_its_own_address(by_command: Night, by_worker: Night):
    for night in (by_command, by_worker):
        assert night.got, "nothing came"
        assert {path.strip("/") for path, _ in night.got} == {HOOK}
        assert given_away({"alerts": json.dumps([body for _, body in night.got]).encode()}, SECRETS) == []


def test_everything_in_the_home_is_for_its_user_alone(by_command: Night, by_worker: Night):
    for night in (by_command, by_worker):
        modes = {
            path: path.lstat().st_mode & 0o777 for path in (night.folder / "home").rglob("*") if not path.is_symlink()
        }
        assert len(modes) > 30
        assert [f"{path} {mode:o}" for path, mode in modes.items() if mode & 0o077] == []
