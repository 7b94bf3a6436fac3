"""`gatebench quickstart`, the main job, as a new user runs it: offline, from an empty folder."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from storage.records import CONTROL
from storage.store import Book

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
CANARY = "sk-canary-5f0e1d2c3b4a59687766554433221100"


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """(address, messages received)."""
    received: list[dict[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://user:{CANARY}@127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()


def test_a_slower_night_is_called_regressed_and_alerts_and_no_secret_is_written(
    tmp_path: Path, webhook: tuple[str, list[dict[str, str]]]
) -> None:
    address, received = webhook
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GATEBENCH_"))}
    found = subprocess.run(
        [str(Path(sys.executable).parent / "gatebench"), "quickstart"],
        cwd=tmp_path,
        env={**env, "GATEBENCH_API_KEY": CANARY, "GATEBENCH_ALERT_URLS": address},
        capture_output=True,
        text=True,
        check=False,
    )
    said = found.stdout + found.stderr
    assert found.returncode == 0, said
    assert "Regressed: " in found.stdout
    assert "Traceback" not in said

    book = Book(tmp_path / ".gatebench" / "gatebench.duckdb")
    nights = book.runs()[::-1]
    assert nights[0].verdict in ("inconclusive", "invalid")  # invalid: the machine was busy, and another night was run
    last = nights[-1]
    assert (last.verdict, last.exit_code) == ("regressed", 10)
    assert {leg.target for leg in book.legs(last.run_id)} >= {"gateway", CONTROL}
    assert any(leg.attempt == "confirm" for leg in book.legs(last.run_id))
    assert last.report is not None and Path(last.report).stat().st_size > 100_000
    assert str(last.report) in found.stdout

    regressed = [message for message in received if "regressed" in message["title"]]
    assert len(regressed) == 1, received
    assert f"gatebench show {last.run_id}" in regressed[0]["message"]

    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 50
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in said
    assert CANARY not in json.dumps(received)
