"""Against a real receiver on loopback, through Apprise as it is installed."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tasks.alerts.channels import Delivery, scheme, send
from tasks.alerts.message import Message

MESSAGE = Message("gatebench: nightly regressed", "p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]")


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, json.loads(body)))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


def test_a_message_arrives_at_a_receiver_as_it_was_written(receiver: Receiver) -> None:
    assert send([f"json://127.0.0.1:{receiver.port}/hook"], MESSAGE) == [Delivery("json", True, None)]
    ((path, got),) = receiver.got
    assert path.rstrip("/") == "/hook"
    assert (got["title"], got["message"]) == (MESSAGE.title, MESSAGE.body)


def test_a_channel_that_fails_is_reported_and_does_not_stop_the_others(receiver: Receiver) -> None:
    deliveries = send(
        ["json://127.0.0.1:1/secret-token", "nonsense://secret-token", f"json://127.0.0.1:{receiver.port}/"], MESSAGE
    )
    assert [(d.channel, d.ok) for d in deliveries] == [("json", False), ("nonsense", False), ("json", True)]
    assert len(receiver.got) == 1


def test_a_refusal_is_a_failure(receiver: Receiver) -> None:
    receiver.status = 500
    (delivery,) = send([f"json://127.0.0.1:{receiver.port}/"], MESSAGE)
    assert (delivery.ok, delivery.error) == (False, "the channel refused the message or did not answer")


def test_an_address_is_never_logged_or_told(receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    caplog.set_level(logging.DEBUG)
    token = "T0KEN-that-nobody-may-see"
    receiver.status = 500
    urls = [f"json://127.0.0.1:{receiver.port}/{token}", f"json://127.0.0.1:1/{token}", f"nonsense://{token}", token]
    deliveries = send(urls, MESSAGE)
    assert len(receiver.got) == 1
    assert token not in caplog.text
    assert token not in repr(deliveries)
    out, err = capfd.readouterr()
    assert token not in out + err


def test_only_the_scheme_of_an_address_is_said() -> None:
    assert scheme("slack://T/B/x") == "slack"
    assert scheme("just-a-token") == "?"
    assert scheme("weird token://x") == "?"
