"""Where alerts arrive in a test: a webhook and a mail server on loopback, each in a thread of its own."""

import base64
import email
import json
import socketserver
import threading
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


class Receiver:
    """A webhook. `statuses`: what it answers to the next requests, then 200; `got`: (path, JSON) of each."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, json.loads(body)))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.stop = _running(self.server)

    def url(self, path: str = "hook") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"


class Mailbox:
    """A mail server that takes a user's name and password. `got`: the mails; `logins`: (user, password) as told;
    `refuse`: how many of the next mails it will not have."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.refuse = 0
        self.password = "right"
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._talk(self._heard, self._say)

            def _heard(self) -> str:
                return self.rfile.readline().decode().rstrip("\r\n")

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.stop = _running(self.server)

    def url(self, key: str = "right") -> str:
        return f"mailto://night:{key}@127.0.0.1:{self.port}/?from=night@example.org&to=ops@example.org&mode=insecure"

    def _talk(self, hear: Callable[[], str], say: Callable[[str], None]) -> None:
        say("220 mailbox")
        while line := hear():
            verb = line[:4].upper()
            if verb in ("EHLO", "HELO"):
                say("250-mailbox\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                say(self._login(line))
            elif verb == "DATA":
                say("354 go on")
                said = self._take(hear)
                say("250 kept" if said else "451 not now")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")

    def _login(self, line: str) -> str:
        _, user, password = base64.b64decode(line.rsplit(maxsplit=1)[-1]).decode().split("\0")
        self.logins.append((user, password))
        return "235 welcome" if password == self.password else f"535 no such password: {password}"

    def _take(self, hear: Callable[[], str]) -> bool:
        lines = list(iter(hear, "."))
        if self.refuse:
            self.refuse -= 1
            return False
        mail = email.message_from_string("\r\n".join(lines), policy=default)
        self.got.append(cast("EmailMessage", mail))
        return True


def text_of(mail: EmailMessage) -> str:
    """The plain part of a mail."""
    part = mail.get_body(("plain", "html"))
    assert part is not None
    return str(part.get_content())


def _running(server: socketserver.BaseServer) -> Callable[[], None]:
    """Serve in a thread; what stops it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
