"""Starts a simulator in a process of its own and speaks to it."""

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from storage.errors import GatebenchError, UsageError
from tasks.simulator.model import KEY_VARIABLE, SimConfig

_ASK_TIMEOUT_S = 10.0


class SimulatorProcess:
    """`with SimulatorProcess(config) as sim: sim.url`. The process ends with the block, or with us at the latest."""

    def __init__(self, config: SimConfig, api_key: str | None = None, timeout_s: float = 20.0) -> None:
        self.config = config
        self._api_key, self._timeout_s = api_key, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._url: str | None = None

    def __enter__(self) -> "SimulatorProcess":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Base URL, ending in /v1."""
        if self._url is None:
            raise GatebenchError("the simulator is not running; start() it first")
        return self._url

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> "SimulatorProcess":
        """Returns when it listens. Raises UsageError (port in use) or GatebenchError (it did not start)."""
        if self._process is not None:
            raise GatebenchError(f"the simulator runs already, at {self.url}")
        environment = dict(os.environ)
        if self._api_key is not None:
            environment[KEY_VARIABLE] = self._api_key
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 # closed by stop()
        self._process = subprocess.Popen(
            # -P: a folder named `tasks` where we happen to be called must not be taken for ours
            [sys.executable, "-P", "-m", "tasks.simulator", "--with-parent", "--config", self.config.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        try:
            self._url = self._wait_for_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the process; does nothing if there is none."""
        process, self._process, self._url = self._process, None, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def stats(self) -> dict[str, Any]:
        """Counters, realised holds and capacity: `Simulator.stats`."""
        return self._ask("GET", "/sim/stats")

    def reset(self) -> None:
        """Zero the counters."""
        self._ask("POST", "/sim/reset")

    def configure(self, **changes: Any) -> dict[str, Any]:
        """Change fields of the configuration live; gives the whole new one. Raises UsageError.

        Faults are given as Fault, as dicts or as texts like "slow:factor=1.5"."""
        if "faults" in changes:
            changes["faults"] = [f if isinstance(f, str | dict) else f.to_dict() for f in changes["faults"]]
        return self._ask("POST", "/sim/config", json.dumps(changes))

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        address = urlsplit(self.url)
        line = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ASK_TIMEOUT_S)
        try:
            with contextlib.closing(line):
                line.request(method, path, body)
                response = line.getresponse()
                raw: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise GatebenchError(f"the simulator at {self.url} did not answer {method} {path}: {error}") from error
        if response.status != 200:
            raise UsageError(raw["error"]["message"])
        return raw

    def _wait_for_ready(self) -> str:
        process = self._process
        if process is None or process.stdout is None:
            raise GatebenchError("the simulator is not running; start() it first")
        deadline = time.monotonic() + self._timeout_s
        line = b""
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([process.stdout], [], [], left_s)[0]:
                raise GatebenchError(f"the simulator was not ready within {self._timeout_s:g} s; is the machine busy?")
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                raise self._died(process)
            line += part
        return line.decode().split()[1]

    def _died(self, process: subprocess.Popen[bytes]) -> GatebenchError:
        code = process.wait(5)
        said = ""
        if self._errors is not None:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
        if code == UsageError.exit_code and said:
            return UsageError(said)
        return GatebenchError(f"the simulator ended with code {code} before it was ready: {said or 'it said nothing'}")
