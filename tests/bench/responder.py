"""A server that costs as little as Python can: `python tests/bench/responder.py [--core N]`.

One process, one epoll loop, answers built beforehand. It speaks just enough of chat completions for every client here.
One port for each behaviour (`BEHAVIOURS`); the first line on stdout is `{"name": port, …}` as JSON, and it ends when
its stdin does. `GET /times` on any port: how long its delayed answers really took, request read to first byte written,
in ns, since the last look.
"""

import argparse
import json
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter_ns, process_time

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """First byte after `delay_ms`; a stream of `chunks` tokens, `gap_ms` apart, each written by itself (0: all at
    once)."""

    delay_ms: float = 0
    chunks: int = 32
    gap_ms: float = 0


BEHAVIOURS = {
    "instant": Behaviour(),
    "delayed": Behaviour(delay_ms=50),
    "paced": Behaviour(delay_ms=4, chunks=32, gap_ms=4),
    "stream": Behaviour(delay_ms=10, chunks=40, gap_ms=10),
}

_PLAIN = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"hello there my friend how are you today, it is a fine day for measuring"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":64,"completion_tokens":16,"total_tokens":80}}'
)
_FRAME = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]%s}'
_MODELS = b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}'


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choice: bytes, rest: bytes = b"") -> bytes:
    return _chunk(b"data: " + _FRAME % (choice, rest) + b"\n\n")


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def pieces(chunks: int) -> list[bytes]:
    """The writes of a stream: headers, role and first token together; a token each; the last one carries the end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    role = _event(b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}')
    token = _event(b'{"index":0,"delta":{"content":" token"},"finish_reason":null}')
    stop = _event(b'{"index":0,"delta":{},"finish_reason":"stop"}')
    usage = b',"usage":{"prompt_tokens":64,"completion_tokens":%d,"total_tokens":%d}' % (chunks, 64 + chunks)
    end = stop + _event(b"", usage) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    tokens = [head + role + token] + [token] * (chunks - 1)
    return [*tokens[:-1], tokens[-1] + end]


@dataclass(slots=True)
class Line:
    """One connection."""

    socket: socket.socket
    port: "Port"
    recv: Callable[[int], bytes]
    send: Callable[[bytes], int]
    waiting: bytes = b""


@dataclass(slots=True)
class Port:
    """One behaviour and what it has still to write: as all its delays are alike, in the order of arrival."""

    how: Behaviour
    delay_ns: int = 0
    gap_ns: int = 0
    plain: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    stream: bytes = b""
    first: deque[tuple[int, int, Line, bool]] = field(default_factory=deque)  # due, read at, line, as a stream
    later: deque[tuple[int, int, Line]] = field(default_factory=deque)  # due, piece, line
    took_ns: deque[int] = field(default_factory=lambda: deque(maxlen=100_000))

    def __post_init__(self) -> None:
        self.delay_ns, self.gap_ns = int(self.how.delay_ms * MS), int(self.how.gap_ms * MS)
        self.plain, self.pieces = whole(_PLAIN), pieces(self.how.chunks)
        self.stream = b"".join(self.pieces)

    def due(self) -> int | None:
        """The next instant at which something is to be written."""
        heads = [waiting[0][0] for waiting in (self.first, self.later) if waiting]
        return min(heads) if heads else None

    def write(self, now: int) -> None:
        while self.later and self.later[0][0] <= now:
            due, at, line = self.later.popleft()
            send(line, self.pieces[at])
            if at + 1 < len(self.pieces):
                self.later.append((due + self.gap_ns, at + 1, line))
        while self.first and self.first[0][0] <= now:
            due, read, line, stream = self.first.popleft()
            stepwise = stream and self.gap_ns > 0
            send(line, self.pieces[0] if stepwise else self.stream if stream else self.plain)
            self.took_ns.append(perf_counter_ns() - read)
            if stepwise:
                self.later.append((due + self.gap_ns, 1, line))

    def times(self) -> bytes:
        took = list(self.took_ns)
        self.took_ns.clear()
        return whole(json.dumps({"took_ns": took, "cpu_s": process_time()}).encode())


def send(line: Line, data: bytes) -> None:
    """Answers are far smaller than a socket's buffer; whoever does not read loses its connection."""
    try:
        if line.send(data) == len(data):
            return
    except OSError:
        pass
    line.socket.close()


class Server:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._listening: dict[int, tuple[socket.socket, Port]] = {}
        self._lines: dict[int, Line] = {}
        # head -> Content-Length, and whether it asks for a completion: a client's heads are nearly all alike
        self._heads: dict[bytes, tuple[int, bool]] = {}
        self.ports: dict[str, int] = {}
        for name, how in BEHAVIOURS.items():
            listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
            listening.setblocking(False)
            self._listening[listening.fileno()] = (listening, Port(how))
            self._poll.register(listening.fileno(), select.EPOLLIN)
            self.ports[name] = listening.getsockname()[1]

    def serve(self) -> None:
        """Until stdin is closed."""
        stdin = sys.stdin.fileno()
        self._poll.register(stdin, select.EPOLLIN | select.EPOLLHUP)
        ports = [port for _, port in self._listening.values()]
        lines, poll = self._lines, self._poll.poll
        while True:
            dues = [due for port in ports if (due := port.due()) is not None]
            wait = -1.0 if not dues else max(0.0, (min(dues) - perf_counter_ns()) / 1e9)
            for fd, _ in poll(wait):
                line = lines.get(fd)
                if line is not None:
                    self._read(fd, line)
                elif fd == stdin:
                    return
                elif fd in self._listening:
                    self._accept(*self._listening[fd])
            if dues:
                now = perf_counter_ns()
                for port in ports:
                    port.write(now)

    def _accept(self, listening: socket.socket, port: Port) -> None:
        with suppress(BlockingIOError):
            while True:
                found, _ = listening.accept()
                found.setblocking(False)
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._lines[found.fileno()] = Line(found, port, found.recv, found.send)
                self._poll.register(found.fileno(), select.EPOLLIN)

    def _read(self, fd: int, line: Line) -> None:
        try:
            data = line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            del self._lines[fd]
            with suppress(OSError):
                self._poll.unregister(fd)
            line.socket.close()
            return
        if line.waiting:
            data = line.waiting + data
        line.waiting = self._requests(line, data)

    def _requests(self, line: Line, data: bytes) -> bytes:
        """Answer each whole request; what is left of one that is not. Clients here never pipeline."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return data
        head = data[:end]
        known = self._heads.get(head)
        if known is None:
            known = self._heads[head] = (_length(head), head.startswith(b"POST"))
        if len(data) < end + 4 + known[0]:
            return data
        if not known[1]:
            send(line, line.port.times() if head.startswith(b"GET /times") else whole(_MODELS))
            return b""
        port, stream = line.port, b'"stream":true' in data or b'"stream": true' in data
        if port.delay_ns:
            now = perf_counter_ns()
            port.first.append((now + port.delay_ns, now, line, stream))
        else:
            send(line, port.stream if stream else port.plain)
        return b""


def _length(head: bytes) -> int:
    for row in head.split(b"\r\n")[1:]:
        name, _, value = row.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int)
    asked = parser.parse_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    server = Server()
    print(json.dumps(server.ports), flush=True)
    server.serve()


if __name__ == "__main__":
    main()
