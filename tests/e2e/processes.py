"""Processes that are ready when they answer, and end with the block."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

READY_S = 120.0


class NotReady(Exception):
    """It did not answer in time, or ended; what it said last is in the text."""


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


@contextlib.contextmanager
def running(words: Sequence[str], ready: str, folder: Path, name: str, **env: str) -> Iterator[int]:
    """Its process id, once `ready` (a URL) answers with anything. Raises NotReady."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env={**os.environ, **env}
        )
    try:
        _until_it_answers(process, ready, log, name)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path, name: str) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(url, timeout=2, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise NotReady(f"{name} did not start: {log.read_text(errors='replace')[-600:]}")


def said(words: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """The first line of what a command says of its version, or a dash."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "–"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "–"
