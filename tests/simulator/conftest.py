"""One simulator process for all tests, put back to its defaults before each, and a client that shows everything."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess

FRESH = {k: v for k, v in SimConfig(service_ms=5.0).to_dict().items() if k not in ("host", "port")}


@dataclass
class Raw:
    """What a bare socket read until the other end closed, was reset, or fell silent."""

    data: bytes
    how: str  # closed | reset | silent


class Client:
    """Asks a simulator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(trust_env=False, timeout=10)

    def body(self, **extra: Any) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": "three little words"}], **extra}

    def ask(self, **extra: Any) -> httpx.Response:
        return self.http.post(f"{self.url}/chat/completions", json=self.body(**extra))

    def open(self, version: str = "1.1", **extra: Any) -> socket.socket:
        """A socket on which the request was sent and nothing read."""
        address = urlsplit(self.url)
        content = json.dumps(self.body(**extra)).encode()
        head = f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
        line = socket.create_connection((address.hostname, address.port), timeout=5)
        line.sendall(head.encode() + content)
        return line

    def raw(self, silence_s: float = 0.3, **extra: Any) -> Raw:
        with self.open(**extra) as line:
            line.settimeout(silence_s)
            data = b""
            try:
                while part := line.recv(65536):
                    data += part
            except ConnectionResetError:
                return Raw(data, "reset")
            except TimeoutError:
                return Raw(data, "silent")
            return Raw(data, "closed")

    def events(self, text: str) -> list[Any]:
        """The data of each server-sent event: JSON decoded, anything else as text."""
        out: list[Any] = []
        for part in filter(None, text.split("\n\n")):
            data = part.removeprefix("data: ")
            try:
                out.append(json.loads(data))
            except ValueError:
                out.append(data)
        return out

    def contents(self, events: list[Any]) -> list[str]:
        """Non-empty content of each chunk."""
        deltas = [c["delta"] for e in events if isinstance(e, dict) for c in e.get("choices", [])]
        return [delta["content"] for delta in deltas if delta.get("content")]


def wait_until(true: Callable[[], bool], limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def _process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(SimConfig(service_ms=5.0)) as process:
        yield process


@pytest.fixture
def sim(_process: SimulatorProcess) -> SimulatorProcess:
    _process.configure(**FRESH)
    wait_until(lambda: _process.stats()["in_flight"] == 0)
    _process.reset()
    return _process


@pytest.fixture
def client(sim: SimulatorProcess) -> Iterator[Client]:
    asker = Client(sim.url)
    yield asker
    asker.http.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def client_of() -> type[Client]:
    return Client
