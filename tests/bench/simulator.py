"""How fast is the null responder on one core? `python tests/bench/simulator.py [seconds]`.

A bare client in another process keeps 64 connections busy; the simulator's own CPU clock gives the cost of a request.
"""

import json
import multiprocessing
import selectors
import socket
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from tasks.simulator.model import SimConfig, null_config
from tasks.simulator.process import SimulatorProcess

TARGET_RPS = 5_000
CONNECTIONS = 64


def drive(port: int, seconds: float, request: bytes, end: bytes, answers: Any) -> None:
    """Closed loop on bare sockets: as soon as an answer is whole, the next request goes out."""
    selector = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        line = socket.create_connection(("127.0.0.1", port))
        selector.register(line, selectors.EVENT_READ)
        line.sendall(request)
    count, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        for key, _ in selector.select(1):
            if key.fileobj.recv(262_144).endswith(end):
                count += 1
                key.fileobj.sendall(request)
    answers.put(count / (now - begin))


def measure(name: str, config: SimConfig, seconds: float, **extra: Any) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello there"}], **extra}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    end = b"0\r\n\r\n" if extra.get("stream") else b"}}"
    context = multiprocessing.get_context("spawn")
    with SimulatorProcess(config) as sim:
        answers = context.Queue()
        before = sim.stats()
        port = urlsplit(sim.url).port
        client = context.Process(target=drive, args=(port, seconds, request, end, answers))
        client.start()
        rate = answers.get()
        client.join()
        after = sim.stats()
    cost_us = (after["cpu_s"] - before["cpu_s"]) / (after["requests"] - before["requests"]) * 1e6
    print(f"{name:28} {rate:10,.0f} requests/s {rate / TARGET_RPS:7.1f} x target {cost_us:8.1f} µs CPU a request")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    print(f"target {TARGET_RPS:,} plain requests/s on one core; {CONNECTIONS} connections")
    measure("plain, 16 tokens", null_config(), seconds, max_tokens=16)
    measure("stream, 32 tokens at once", null_config(), seconds, max_tokens=32, stream=True)
    measure(
        "stream, 32 tokens over 10 ms", null_config().changed({"service_ms": 10.0}), seconds, max_tokens=32, stream=True
    )


if __name__ == "__main__":
    main()
