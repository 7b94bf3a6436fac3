"""Makes config/samples/litellm.jsonl.gz: the log of a real LiteLLM proxy in front of our simulator.

    python -m venv ~/litellm && ~/litellm/bin/pip install 'litellm[proxy]'
    python -m deployments.make_sample_log --litellm ~/litellm/bin/litellm --out config/samples/litellm.jsonl.gz

LiteLLM lives in an environment of its own (770 MB), and only its command is needed. Nothing leaves this machine: the
simulator, the proxy and the receiver of its `generic_api` callback listen on loopback. The traffic is drawn from a
seed: three model groups, streams and not, users, sessions of several turns, two bursts, a group that fails and one that
falls back to another (so that its calls stand in the log twice). The prompts are made of a few words. It takes about a
minute.
"""

import argparse
import asyncio
import gzip
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson

from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess

SPAN_S = 40.0
STEADY = 72  # requests spread over the span
BURSTS = ((12.0, 18), (29.0, 22))  # at this second so many within BURST_S
BURST_S = 1.2
READY_S = 90.0
FLUSH_S = 30.0  # generic_api sends its batch every few seconds
MASTER_KEY = "LITELLM_MASTER_KEY"
WORDS = (
    "order ticket invoice model gateway latency report customer region service queue answer list table the of to with"
)
TASKS = ("Summarise this ticket:", "Answer the customer:", "Explain the report:", "List the next steps for:")
# group, weight, share of streams, median prompt words, answers' caps
GROUPS = (
    ("chat-small", 60, 0.75, 40, (8, 16, 24, 32)),
    ("chat-large", 28, 0.85, 120, (16, 24, 48, 64)),
    ("extract", 9, 0.0, 70, (8, 12)),
    ("chat-premium", 2, 1.0, 60, (24, 48)),
    ("chat-beta", 3, 0.5, 40, (16,)),
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to be sent at `at_s`, seconds from the start."""

    at_s: float
    body: dict[str, Any]


def asks(seed: int) -> list[Ask]:
    """The traffic, in order of time."""
    rng = Random(seed)
    times = [rng.random() * SPAN_S for _ in range(STEADY)]
    times += [start + rng.random() * BURST_S for start, n in BURSTS for _ in range(n)]
    sessions = [(f"session-{n:03}", f"user-{rng.randrange(14):02}") for n in range(70)]
    return [Ask(at_s, _body(rng, *rng.choice(sessions))) for at_s in sorted(times)]


def _body(rng: Random, session: str, user: str) -> dict[str, Any]:
    name, _, streams, median, caps = rng.choices(GROUPS, weights=[group[1] for group in GROUPS])[0]
    words = min(max(int(rng.lognormvariate(0, 0.7) * median), 6), 420)
    prompt = f"{rng.choice(TASKS)} {' '.join(rng.choices(WORDS.split(), k=words))}"
    body: dict[str, Any] = {
        "model": name,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}],
        "max_tokens": rng.choice(caps),
        "user": user,
        "metadata": {"session_id": session},
        "stream": rng.random() < streams,
    }
    if body["stream"]:
        body["stream_options"] = {"include_usage": True}
    return body


def proxy_config(upstream: str) -> dict[str, Any]:
    """JSON is YAML too. Failures are LiteLLM's own: no provider is asked."""

    def served(group: str, **more: Any) -> dict[str, Any]:
        parameters = {"model": f"openai/sim-{group}", "api_base": upstream, "api_key": "unused", **more}
        return {"model_name": group, "litellm_params": parameters}

    return {
        "model_list": [
            served("chat-small"),
            served("chat-large"),
            served("extract"),
            served("chat-premium", mock_response="litellm.InternalServerError"),
            served("chat-beta", mock_response="litellm.RateLimitError"),
        ],
        "litellm_settings": {"callbacks": ["generic_api"], "num_retries": 0, "telemetry": False},
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "fallbacks": [{"chat-premium": ["chat-large"]}],
        },
        "general_settings": {"master_key": f"os.environ/{MASTER_KEY}"},
    }


class Receiver(ThreadingHTTPServer):
    """Takes the batches that the proxy posts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Batch)
        self.payloads: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Batch(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        batch = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.payloads += batch if isinstance(batch, list) else [batch]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the proxy is not worth a line a batch."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()


@contextmanager
def proxy(command: str, config: dict[str, Any], endpoint: str, key: str) -> Iterator[str]:
    """A LiteLLM proxy that is ready; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "config.yaml", Path(folder) / "proxy.log"
        file.write_text(json.dumps(config), encoding="utf-8")
        environment = {
            **os.environ,
            MASTER_KEY: key,
            "GENERIC_LOGGER_ENDPOINT": endpoint,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        arguments = [command, "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        with log.open("wb") as output:
            process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=output, cwd=folder)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}/health/liveliness", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise SystemExit(f"the proxy did not start:\n{log.read_text(errors='replace')[-3000:]}")


async def send(url: str, key: str, planned: list[Ask]) -> list[int]:
    """Every request at its time, whatever became of the others; their statuses."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=60, limits=limits) as client:
        begun = time.monotonic()

        async def one(ask: Ask) -> int:
            await asyncio.sleep(max(0.0, begun + ask.at_s - time.monotonic()))
            response = await client.post(f"{url}/chat/completions", json=ask.body)
            return response.status_code

        return await asyncio.gather(*(one(ask) for ask in planned))


def wait_for(receiver: Receiver, calls: int) -> None:
    """Until every call was logged, and one flush more for the twins of those that fell back."""
    until = time.monotonic() + FLUSH_S
    while len({payload["litellm_call_id"] for payload in receiver.payloads}) < calls and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(6)


def scrubbed(payload: dict[str, Any]) -> dict[str, Any]:
    """Without the paths of the machine it was made on, which stand in tracebacks."""
    information = payload.get("error_information") or {}
    if information.get("traceback"):
        information["traceback"] = re.sub(r'File "[^"]*"', 'File "/srv/gateway"', information["traceback"])
    return payload


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--litellm", required=True, help="the litellm command")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    planned, key = asks(options.seed), f"sk-{secrets.token_hex(16)}"
    simulator = SimConfig(
        slots=24, distribution=Distribution.LOGNORMAL, cv=0.4, first_token_ms=90, per_token_ms=9, seed=options.seed
    )
    with SimulatorProcess(simulator) as upstream, receiving() as receiver:
        with proxy(options.litellm, proxy_config(upstream.url), receiver.url, key) as url:
            asyncio.run(send(url, key, [Ask(0, planned[0].body)] * 3))  # warm: imports, connections
            wait_for(receiver, 3)
            receiver.payloads.clear()
            statuses = asyncio.run(send(url, key, planned))
            wait_for(receiver, len(planned))
        lines = [orjson.dumps(scrubbed(payload)) for payload in receiver.payloads]
    text = b"\n".join(lines) + b"\n"
    if key.encode() in text:
        raise SystemExit("the proxy logged the master key; nothing was written")
    options.out.write_bytes(gzip.compress(text, 9, mtime=0))
    failed = sum(status >= 400 for status in statuses)
    sys.stderr.write(f"{len(lines)} lines of {len(planned)} requests, {failed} failed, {options.out}\n")


if __name__ == "__main__":
    main()
