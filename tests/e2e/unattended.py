"""docs/operating.md's ways for systemd and for containers, followed line by line where there is one of them; as root.

    debootstrap --include=systemd-sysv,dbus,sudo,git,ca-certificates,python3-venv bookworm TREE
    python -m tests.e2e.unattended --tree TREE     # boots it by systemd-nspawn; nothing in it is changed
    python -m tests.e2e.unattended --containers    # on the Docker engine of this machine, which needs compose

Both ask for a night, which has to end with a verdict, kill the worker, which has to come back and do another one, and
stop everything in order. Only loopback is measured: a simulator of this machine, or one in the worker's own network.
"""

import argparse
import contextlib
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import StateType

from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes import pages
from tests.fakes.prefect_house import ask, until

PAGE = "docs/operating.md"
API = "http://127.0.0.1:4200/api"
COMPOSE = "docker compose -f deployments/compose.yaml"
BOOT_S, NIGHT_S = 120.0, 600.0
FILES = 65536  # of compose.yaml
SMALL = {"levels = [1, 10, 50, 100]": "levels = [1, 4]", "requests = 1000 ": "requests = 100 "}
GATEWAY = (
    "docker rm --force gatebench-gateway; docker run --detach --name gatebench-gateway "
    "--network container:gatebench-worker-1 gatebench gatebench simulate --port 4000"
)
_END = "what was said ends here:"


class Shell:
    """A bash somewhere, to which lines are typed one after another. Raises AssertionError where one of them fails."""

    def __init__(self, *command: str, folder: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [*command, "bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            errors="replace",
        )

    def __call__(self, line: str) -> str:
        """What the line says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(f"$ {line}", flush=True)
        print(f"{{ {line}\n}} </dev/null; printf '\\n%s %s\\n' '{_END}' $?", file=self._process.stdin, flush=True)
        said = ""
        for each in self._process.stdout:
            if each.startswith(_END):
                code = int(each.removeprefix(_END))
                print(said.strip()[-2000:], flush=True)
                assert code == 0, f"{line}: exit code {code}"
                return said
            said += each
        raise AssertionError(f"{line}: the shell ended")

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(20)


def block(heading: str, number: int = 0) -> list[str]:
    """The lines of a shell block below a heading of the page."""
    text = pages.text(PAGE).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)[number].replace("\\\n", " ")
    return [line for line in found.splitlines() if line.split("#")[0].strip()]


def make_small(shell: Shell, plan: str) -> None:
    """A plan as `gatebench init` writes it, with fewer requests."""
    for theirs, ours in SMALL.items():
        shell(f"grep -qF '{theirs}' {plan} && sed -i 's/{re.escape(theirs)}/{ours}/' {plan}")


def night(auth: str) -> None:
    """The deployment `nightly` is asked for a run, which ends with a verdict."""

    async def begin(client: Any) -> Any:
        (nightly,) = [one for one in await client.read_deployments() if one.name == "nightly"]
        return (await client.create_flow_run_from_deployment(nightly.id)).id

    number = ask(API, auth, begin)

    async def state(client: Any) -> Any:
        return (await client.read_flow_run(number)).state

    def ended() -> Any:
        found = ask(API, auth, state)
        return found if found.is_final() else None

    end = until(ended, "the night did not end", NIGHT_S)
    print(f"the night ended as {end.name}: {end.message}", flush=True)
    assert end.type == StateType.COMPLETED
    assert end.name == "Inconclusive", "a first night cannot be judged"


def comes_back(worker: Callable[[], str], kill: Callable[[str], Any]) -> None:
    """`worker`: the id of its process, or nothing."""
    before = worker()
    kill(before)
    until(lambda: worker() not in ("", "0", before), "the worker did not come back", BOOT_S)
    print(f"the worker was killed and came back: {before}, {worker()}", flush=True)


@contextlib.contextmanager
def booted(tree: Path, source: Path) -> Iterator[tuple[str, ...]]:
    """A machine made of the tree, as what a command in it has to begin with. It shares our loopback."""
    begin = "systemd-nspawn --quiet --register=no --keep-unit --boot --volatile=overlay --console=pipe"
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [*begin.split(), "--hostname=localhost", f"--directory={tree}", f"--bind-ro={source}:/source"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:

            def first() -> str:
                assert process.poll() is None, "it did not boot"
                return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()

            enter = f"nsenter --target {until(first, 'it did not boot', BOOT_S)} --mount --uts --ipc --pid --cgroup"
            bare = "env -i --chdir=/ HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin"
            inside = tuple(f"{enter} {bare}".split())

            def ready() -> bool:
                asked = [*inside, "systemctl", "is-system-running"]
                done = subprocess.run(asked, capture_output=True, text=True, check=False)
                return done.stdout.strip() in ("running", "degraded")

            until(ready, "it did not boot", BOOT_S)
            yield inside
        finally:
            process.terminate()
            process.wait(60)


def by_systemd(tree: Path, url: str) -> None:
    password = secrets.token_hex(8)
    with booted(tree, pages.ROOT) as inside:
        shell = Shell(*inside)
        shell("systemctl --version | head -1; git config --global --add safe.directory '*'")
        for line in block("One machine, systemd"):
            shell(line.replace("git clone …", "git clone /source").replace("http://127.0.0.1:4000/v1", url))
            if "secrets.env" in line:
                shell(f"sed -i 's/AUTH_STRING=$/AUTH_STRING=user:{password}/' /etc/gatebench/secrets.env")
            if "gatebench init" in line:
                make_small(shell, "/etc/gatebench/plan.toml")
        until(lambda: "active" in shell("systemctl is-active gatebench-worker || true").split(), "no worker", NIGHT_S)
        shell("systemctl --no-pager --failed; systemd-analyze security --no-pager | grep gatebench")
        auth = f"user:{password}"
        night(auth)
        (by_hand,) = block("One machine, systemd", 1)
        assert "inconclusive" in shell(by_hand).lower()

        def worker() -> str:
            return shell("systemctl show --property=MainPID --value gatebench-worker").strip()

        comes_back(worker, lambda process: shell(f"kill -9 {process}"))
        night(auth)
        shell("systemctl stop gatebench-worker gatebench-server")
        for unit in ("gatebench-worker", "gatebench-server"):
            assert shell(f"systemctl show --property=Result --value {unit}").strip() == "success"
        shell("journalctl -u gatebench-worker --no-pager | tail -30")
        shell("ls -la /var/lib/gatebench; find /etc/gatebench -printf '%M %u:%g %p\\n'")
        shell.close()


def by_containers() -> None:
    password = secrets.token_hex(8)
    auth = f"user:{password}"
    with tempfile.TemporaryDirectory() as place:
        plan = Path(place, "plan.toml")
        shell = Shell(folder=Path(place))
        shell(f"git clone --quiet {pages.ROOT} source && cd source")
        shell(f"{sys.executable} -m flows.cli init --url http://127.0.0.1:4000/v1 --model m --out {plan}")
        make_small(shell, str(plan))
        Path(place).chmod(0o755)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if most < FILES:  # an engine of this machine cannot give a container more
            shell(f"sed -i 's/nofile: {FILES}/nofile: {most}/' deployments/compose.yaml")
        fill_in, up = block("Containers")
        shell(fill_in)
        for name, value in {"POSTGRES_PASSWORD": password, "PREFECT_AUTH": auth, "PLAN": plan}.items():
            shell(f"sed -i 's|^GATEBENCH_{name}=.*|GATEBENCH_{name}={value}|' deployments/.env")
        try:
            shell(up)
            shell(GATEWAY)
            night(auth)
            (by_hand,) = block("Containers", 1)
            assert "inconclusive" in shell(by_hand).lower()

            def worker() -> str:
                return shell("docker inspect --format '{{.State.Pid}}' gatebench-worker-1").strip()

            comes_back(worker, lambda process: shell(f"kill -9 {process}"))
            shell(GATEWAY)  # its network was the worker's
            night(auth)
            shell(f"{COMPOSE} logs --tail 30 worker")
            shell(f"{COMPOSE} stop")
            ended = shell(f"{COMPOSE} ps --all --format '{{{{.Service}}}} {{{{.ExitCode}}}}'").split()
            assert ended == "database 0 deploy 0 server 0 worker 0".split()
        finally:
            shell("docker rm --force gatebench-gateway")
            shell(f"{COMPOSE} down --volumes")
            shell.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.e2e.unattended", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", type=Path, help="a Debian to boot")
    parser.add_argument("--containers", action="store_true", help="the Docker engine of this machine")
    asked = parser.parse_args()
    if asked.tree is not None:
        with SimulatorProcess(SimConfig(service_ms=20)) as gateway:
            by_systemd(asked.tree.resolve(), gateway.url)
    if asked.containers:
        by_containers()


if __name__ == "__main__":
    main()
