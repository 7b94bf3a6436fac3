"""A target that puts into every text it may choose what would do harm where it is not taken as mere text."""

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

SCRIPT = "<script>alert(1)</script>"
PICTURE = "<img src=x onerror=alert(2)>"
LINK = "[open](javascript:alert(3))"
FETCH = "![i](http://evil.example/i.png)"
CELL = "a|b"
CODE = "`rm`"
TERMINAL = "\x1b]0;owned\x07\x1b[2J\x1b[31m"
BIDI = "\u202egnp.exe"
CLOSING = "</script></td></table>'\"-->"
HARM = f"{SCRIPT}{PICTURE}{LINK}{FETCH}{CELL}{CODE}{TERMINAL}{BIDI}{CLOSING}"
MODEL = f"m{HARM}"
MODELS = tuple(f"{formula}{HARM}" for formula in ("=1+cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1+1)", "m"))
# A control character in a header is against the protocol, and every request with one has failed.
HEADER = f"h{SCRIPT}{PICTURE}{LINK}{FETCH}{CELL}{CODE}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    numbers = itertools.count()

    def version_string(self) -> str:
        return HEADER

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        n = next(self.numbers)
        if n > 5 and n % 12 == 0:
            self._json(500, {"error": {"message": MODEL, "type": MODEL, "code": MODEL}})
        elif n > 5 and n % 12 == 6:
            self._json(429, {"error": MODEL}, {"Retry-After": f"1{SCRIPT}"})
        elif asked.get("stream"):
            self._stream(MODELS[n % len(MODELS)], broken=n > 5 and n % 12 == 3)
        else:
            choice = {"index": 0, "message": {"content": SCRIPT}, "finish_reason": f"stop{MODEL}"}
            self._json(200, {"model": MODELS[n % len(MODELS)], "choices": [choice], "usage": usage()})

    def _stream(self, model: str, *, broken: bool) -> None:
        events: list[dict[str, Any]] = [{"model": model, "choices": [{"index": 0, "delta": {"content": SCRIPT}}]}] * 3
        last = {
            "model": model,
            "choices": [{"index": 0, "delta": {}, "finish_reason": f"stop{MODEL}"}],
            "usage": usage(),
        }
        events.append({"error": {"message": MODEL, "code": MODEL}} if broken else last)
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(200, "text/event-stream", body.encode(), {})

    def _json(self, status: int, body: dict[str, Any], headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), headers)

    def _send(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status, message=f"so{SCRIPT}")
        told = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Via": HEADER,
            "X-Request-Id": f"=1+1{HEADER}",
            "X-Litellm-Version": HEADER,
            "X-Litellm-Model-Id": HEADER,
            "X-Litellm-Attempted-Fallbacks": HEADER,
            "X-Litellm-Attempted-Retries": HEADER,
            "X-Portkey-Cache-Status": HEADER,
            **headers,
        }
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def usage() -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


@contextmanager
def hostile() -> Iterator[str]:
    """Its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
