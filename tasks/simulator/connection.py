"""HTTP/1.0 and 1.1 on one connection: requests are answered one after the other, in the order they came."""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httptools
import orjson

from storage.errors import UsageError
from tasks.simulator.ask import Refused
from tasks.simulator.desk import Simulator, answer, refuse
from tasks.simulator.exchange import Exchange
from tasks.simulator.model import json_object
from tasks.simulator.wording import Reply

_LINGER_ZERO = struct.pack("ii", 1, 0)
_CHAT = b"/v1/chat/completions"


class Request(NamedTuple):
    method: bytes
    path: bytes
    body: bytes
    authorization: bytes
    keep_alive: bool
    chunked: bool  # whether an answer may be


class Connection(asyncio.Protocol):
    """One client. `numbers` gives every request of the simulator its own number."""

    def __init__(self, simulator: Simulator, numbers: Iterator[int], connections: set["Connection"]) -> None:
        self.exchange: Exchange | None = None
        self._simulator, self._numbers, self._connections = simulator, numbers, connections
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[Request] = deque()
        self._busy = self._serving = False
        self.on_message_begin()

    # From the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._parser = None  # it refers back to us
        self._waiting.clear()
        if self.exchange is not None:
            self.exchange.abandon()
            self.exchange = None

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._busy:
                reply = Reply(next(self._numbers), int(time.time()), keep_alive=False, chunked=False)
                refuse(self, reply, Refused(400, "this is not HTTP/1.1 as the simulator speaks it"))
            self._transport.close()

    # From the parser

    def on_message_begin(self) -> None:
        self._url = self._authorization = b""
        self._body: list[bytes] = []
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 13 and name.lower() == b"authorization":
            self._authorization = value
        elif len(name) == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        if self._expects and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser, parts = self._parser, self._body
        modern = parser.get_http_version() != "1.0"
        request = Request(
            parser.get_method(),
            self._url.partition(b"?")[0],
            parts[0] if len(parts) == 1 else b"".join(parts),
            self._authorization,
            modern and parser.should_keep_alive(),
            modern,
        )
        if self._busy:
            self._waiting.append(request)
        else:
            self._serve(request)

    # For the exchange

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def over(self, *, close: bool) -> None:
        self.exchange = None
        if close:
            self._waiting.clear()
            self._transport.close()
            return
        self._busy = False
        if not self._serving:  # else whoever serves goes on with the next
            self._next()

    def reset(self) -> None:
        self.exchange = None
        self._waiting.clear()
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    # For the server

    def drop(self) -> None:
        """The simulator ends."""
        self._transport.abort()

    # Serving

    def _serve(self, request: Request) -> None:
        self._busy = self._serving = True
        reply = Reply(next(self._numbers), int(time.time()), request.keep_alive, request.chunked)
        try:
            if request.path == _CHAT and request.method == b"POST":
                self._chat(request, reply)
            else:
                self._route(request, reply)
        finally:
            self._serving = False

    def _next(self) -> None:
        while self._waiting and not self._busy:
            self._serve(self._waiting.popleft())

    def _chat(self, request: Request, reply: Reply) -> None:
        if self._simulator.allows(request.authorization):
            self._simulator.chat(self, request.body, reply)
        else:
            refuse(self, reply, _WRONG_KEY)

    def _route(self, request: Request, reply: Reply) -> None:
        known = _ROUTES.get(request.path)
        if known is None:
            refuse(self, reply, Refused(404, f"no such path: {request.path.decode('latin-1')}"))
            return
        handler = known.get(request.method)
        if handler is None:
            allowed = ", ".join(method.decode() for method in known)
            refuse(self, reply, Refused(405, f"this path speaks {allowed}"))
            return
        try:
            if request.path.startswith(b"/v1/models") and not self._simulator.allows(request.authorization):
                raise _WRONG_KEY
            body = handler(self._simulator, request.body)
        except Refused as refused:
            refuse(self, reply, refused)
        except UsageError as error:
            refuse(self, reply, Refused(400, str(error)))
        else:
            answer(self, reply, 200, body)


_WRONG_KEY = Refused(401, "Incorrect API key provided", "invalid_api_key")

Handler = Callable[[Simulator, bytes], bytes]


def _configure(simulator: Simulator, body: bytes) -> bytes:
    simulator.configure(json_object(body, "simulator"))
    return orjson.dumps(simulator.config.to_dict())


def _reset(simulator: Simulator, _body: bytes) -> bytes:
    simulator.reset()
    return b"{}"


def _health(_simulator: Simulator, _body: bytes) -> bytes:
    return b'{"status":"ok"}'


_ROUTES: dict[bytes, dict[bytes, Handler]] = {
    b"/health": {b"GET": _health},
    b"/v1/health": {b"GET": _health},
    b"/v1/models": {b"GET": lambda simulator, _: simulator.models()},
    b"/sim/stats": {b"GET": lambda simulator, _: orjson.dumps(simulator.stats())},
    b"/sim/reset": {b"POST": _reset},
    b"/sim/config": {b"GET": lambda simulator, _: orjson.dumps(simulator.config.to_dict()), b"POST": _configure},
    _CHAT: {},
}
