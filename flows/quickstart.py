"""The product in a few minutes: a simulator, the sample log, quick nights, and a last night that is slower."""

import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from prefect import State

import config
from config.settings import Settings
from flows import stopping
from flows.cli_common import raise_as
from flows.listen import LISTENER
from flows.nightly import nightly
from flows.terminal import Terminal
from storage.records import Word
from storage.store import Book
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess

SAMPLE = Path(config.__file__).parent / "samples" / "litellm.jsonl.gz"
_NIGHTLY = cast("Callable[..., Awaitable[State[Any]]]", nightly)  # with return_state=True it returns a State
QUIET = 4
MOST = 10
SLOWER = 1.6
CHANNELS = "GATEBENCH_ALERT_URLS"
TOO_BUSY = (
    f"no clear end after {MOST} nights: this machine was too busy to measure on, and what was measured then is not "
    "believed; `gatebench doctor` says what else runs, then try again"
)
SIMULATOR = SimConfig(slots=8, service_ms=20.0, distribution=Distribution.LOGNORMAL, cv=0.15, seed=7)


def quickstart(settings: Settings, quiet: bool) -> dict[str, Any]:
    """Quiet nights, then one in which every request takes SLOWER times as long. The last night's outcome."""
    with SimulatorProcess(SIMULATOR) as simulator, Terminal(quiet) as terminal, _webhook(terminal):
        terminal.say(f"simulator: {simulator.url}, 8 slots of 20 ms; log: {SAMPLE.name}, made by a real LiteLLM")
        changes = [
            f"targets.0.url={simulator.url}",
            "targets.0.models={}",
            f"capture.sources={[str(SAMPLE)]}",
        ]
        return stopping.run(_nights(simulator, terminal, changes, settings), terminal)


@contextmanager
def _webhook(terminal: Terminal) -> Iterator[None]:
    """A receiver on this machine, so that the alert goes all the way; whoever has set channels keeps them."""
    if os.environ.get(CHANNELS):
        yield
        return

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            terminal.say(f"webhook received: {message['title']}")

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ[CHANNELS] = f"json://127.0.0.1:{server.server_port}/"
    try:
        yield
    finally:
        del os.environ[CHANNELS]
        server.shutdown()
        server.server_close()


async def _nights(
    simulator: SimulatorProcess, terminal: Terminal, changes: list[str], settings: Settings
) -> dict[str, Any]:
    """Quiet nights until QUIET of them are in the baseline (a busy machine spoils some), then slower ones until one is
    judged; at most MOST in all."""
    LISTENER.set(terminal)
    book = Book(settings.book_path, settings.book_wait_s)
    data: dict[str, Any] = {}
    slower = False
    for night in range(1, MOST + 1):
        terminal.say(f"\nnight {night}: {'the slower gateway' if slower else 'nothing changed'}")
        data = await _night(changes)
        if slower and data["verdict"] == Word.REGRESSED:
            return data
        held = [len(book.baseline_runs(s.segment_id)) for s in book.segments(data["run_id"])]
        if not slower and min(held) >= QUIET:
            simulator.configure(slow_factor=SLOWER)
            slower = True
            terminal.say(f"\na change ships, and the gateway now takes {SLOWER:g} times as long")
    return data


async def _night(changes: list[str]) -> dict[str, Any]:
    state: State[Any] = await _NIGHTLY("quickstart", "", changes, True, return_state=True)
    found = await state.aresult(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    data = dict(found)
    if "error" in data:
        raise_as(data["error"], data["exit_code"])
    return data
