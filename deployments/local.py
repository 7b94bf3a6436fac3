"""A Prefect server and a worker on this machine, as long as somebody wants them."""

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from storage.disk import make_folder
from storage.errors import UsageError

HARDENED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
START_S = 120.0
STOP_S = 20.0
TRIES = 3  # ports, of a server that listens on any
FIRST_PORT = 10_000
PORTS_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")  # which the kernel gives to outgoing connections
_TETHERED = [sys.executable, "-P", "-m", "deployments.tether"]


class CannotListen(UsageError):
    """Nobody can listen on this port, or whoever was to did not."""


def environment(home: Path, port: int) -> dict[str, str]:
    """What server, worker and flows of this machine are started with: history under the data root, closed to other
    pages, and to whoever does not know the password. An empty PREFECT_SERVER_API_AUTH_STRING does without one."""
    origin = f"http://127.0.0.1:{port}"
    env = {
        **environment_elsewhere(home),
        "PREFECT_HOME": str(make_folder(home / "prefect")),
        "PREFECT_API_URL": f"{origin}/api",
        "PREFECT_UI_URL": origin,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origin,
    }
    auth = env.pop("PREFECT_SERVER_API_AUTH_STRING", None)
    if auth is None:
        auth = auth_string(home / "prefect")
    return {**env, "PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth} if auth else env


def environment_elsewhere(home: Path) -> dict[str, str]:
    """What a worker and its flows are started with, wherever their server is."""
    make_folder(home)
    return {
        **HARDENED,
        **os.environ,
        "GATEBENCH_HOME": str(home),
        "PREFECT_HOME": os.environ.get("PREFECT_HOME") or str(make_folder(home / "prefect")),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PYTHONSAFEPATH": "1",
    }


def auth_string(prefect_home: Path) -> str:
    """`user:password` of the server whose history lies there, from a file that its owner alone may read; made by
    whoever is first. Everyone on this machine can reach a port of it."""
    file = prefect_home / "auth"
    if not file.exists():
        aside = file.with_name(f".auth.{os.getpid()}.part")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as out:
            out.write(f"gatebench:{secrets.token_urlsafe(24)}\n")
        with contextlib.suppress(FileExistsError):
            os.link(aside, file)  # whole, or not at all: two servers may start at once
        aside.unlink()
    return file.read_text(encoding="utf-8").strip()


def sign_in(home: Path, url: str) -> None:
    """For a client of a server of ours on this machine: take its auth, unless one is set."""
    prefect_home = Path(os.environ.get("PREFECT_HOME", home / "prefect"))
    if urlsplit(url).hostname == "127.0.0.1" and (prefect_home / "auth").is_file():
        os.environ.setdefault("PREFECT_API_AUTH_STRING", auth_string(prefect_home))


@contextlib.contextmanager
def server(home: Path, port: int, *, services: bool = True) -> Iterator[dict[str, str]]:
    """The server, listening on 127.0.0.1; yields the environment of its clients. Raises UsageError if the port is
    taken or the server does not come up. Without `services` it schedules nothing and is quieter."""
    _free(port)
    env = environment(home, port)
    command = [*_TETHERED, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    if not services:
        command.append("--no-services")
    with _process(command, env, home, home / "prefect" / "server.log") as process:
        _wait_until_healthy(f"{env['PREFECT_API_URL']}/health", process, home / "prefect" / "server.log")
        yield env


@contextlib.contextmanager
def server_of_our_own(home: Path, choose: Callable[[], int] | None = None) -> Iterator[dict[str, str]]:
    """A server without services for one command, on the port that `choose` gives. Between the choice and the server's
    use of it somebody else may take it: then another one is chosen, TRIES in all. Raises as `server` does."""
    with contextlib.ExitStack() as stack:
        yield _on_some_port(stack, home, choose or unused_port, TRIES)


def _on_some_port(stack: contextlib.ExitStack, home: Path, choose: Callable[[], int], tries: int) -> dict[str, str]:
    try:
        return stack.enter_context(server(home, choose(), services=False))
    except CannotListen:
        if tries <= 1:
            raise
        return _on_some_port(stack, home, choose, tries - 1)


@contextlib.contextmanager
def worker(env: Mapping[str, str], pool: str, folder: Path, log: Path | None) -> Iterator["subprocess.Popen[bytes]"]:
    """A process worker of `pool`, at work in `folder`. Without a log it writes where we do."""
    command = [*_TETHERED, "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with _process(command, env, folder, log) as process:
        yield process


def unused_port(ports_out: Path = PORTS_OUT) -> int:
    """A port that nobody listens on right now, below those that the kernel gives to outgoing connections: one of these
    would be taken in the next second by whoever sends load. `ports_out`: the file that tells them."""
    try:
        least = int(ports_out.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        least = 0
    tried = random.sample(range(FIRST_PORT, least), 20) if least > FIRST_PORT + 100 else []
    for port in [*tried, 0]:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise UsageError("this machine has no free port for a Prefect server; is it out of sockets?")


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CannotListen(f"port {port} is taken on this machine; choose another with --port") from None


@contextlib.contextmanager
def _process(
    command: list[str], env: Mapping[str, str], folder: Path, log: Path | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own, so that a Ctrl-C meant for us does not reach it; ended with the block."""
    with contextlib.nullcontext() if log is None else log.open("ab") as out:
        process = subprocess.Popen(
            command, env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """SIGINT as Ctrl-C would, SIGTERM to its whole session, at last SIGKILL."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if kind is signal.SIGINT:
                process.send_signal(kind)
            else:
                os.killpg(process.pid, kind)
        try:
            process.wait(STOP_S if kind is signal.SIGINT else 5)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whoever of its session outlived it


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotListen(f"the Prefect server ended at once{_last_words(log)}; the rest is in {log}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own URL
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise UsageError(
        f"the Prefect server did not answer within {START_S:.0f} s; is the machine busy? Its words are in {log}"
    )


def _last_words(log: Path) -> str:
    """The last line of its log, after a colon; empty where it said nothing."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:200]}" if lines else ""
    return ""
