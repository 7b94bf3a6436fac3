"""The bytes of answers. Everything here is a pure function of its arguments."""

from functools import lru_cache
from http.client import responses
from importlib.metadata import version
from typing import NamedTuple

import orjson

from tasks.simulator.ask import Ask

SERVER = b"gatebench-simulator/" + version("gatebench").encode()
WORDS = (b" token", b" word")  # by turns: LiteLLM ends a stream of about a hundred equal chunks as a model gone astray
BROKEN_EVENT = b'data: {"id":"chatcmpl-broken","choices":[{"index":0,"delta":{"content":\n\n'
BROKEN_BODY = b'{"id":"chatcmpl-broken","choices":[{"index":0,"message":\n'
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


class Reply(NamedTuple):
    """What belongs to one answer: its number and how its connection speaks."""

    number: int
    created: int  # seconds since the epoch: a label
    keep_alive: bool
    chunked: bool  # False for HTTP/1.0, where a stream ends by closing the connection
    told: bytes = b""  # header lines in which the gateway tells what it did


@lru_cache(maxsize=64)
def _head(status: int, content_type: bytes, keep_alive: bool) -> bytes:
    phrase = responses.get(status, "Unknown").encode()
    close = b"" if keep_alive else b"connection: close\r\n"
    return b"HTTP/1.1 %d %b\r\nserver: %b\r\ncontent-type: %b\r\n%bx-request-id: sim-" % (
        status,
        phrase,
        SERVER,
        content_type,
        close,
    )


def whole(reply: Reply, status: int, body: bytes, extra: bytes = b"", length: int | None = None) -> bytes:
    """A response with its body. `extra` are header lines; `length` overrides the stated content-length."""
    stated = len(body) if length is None else length
    head = _head(status, b"application/json", reply.keep_alive)
    lines = reply.told + extra
    return b"%b%012x\r\n%bcontent-length: %d\r\n\r\n%b" % (head, reply.number, lines, stated, body)


def error_body(status: int, message: str, code: str | None = None) -> bytes:
    """An error in the shape of OpenAI's."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status)
    if kind is None:
        kind = "invalid_request_error" if status < 500 else "server_error"
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def usage(ask: Ask, tokens: int) -> bytes:
    total = ask.prompt_tokens + tokens
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (ask.prompt_tokens, tokens, total)


def completion(reply: Reply, ask: Ask, tokens: int) -> bytes:
    """The body of an answer that is no stream."""
    return (
        b'{"id":"chatcmpl-%012x","object":"chat.completion","created":%d,"model":%b,"choices":[{"index":0,'
        b'"message":{"role":"assistant","content":"%b"},"logprobs":null,"finish_reason":"%b"}],"usage":%b}'
    ) % (reply.number, reply.created, ask.model, text(tokens), finish(ask, tokens), usage(ask, tokens))


def text(tokens: int) -> bytes:
    return b"".join(WORDS[k & 1] for k in range(tokens))


def finish(ask: Ask, tokens: int) -> bytes:
    return b"length" if ask.limited and tokens == ask.tokens else b"stop"


class Frames:
    """The frames of one stream, each ready to be written."""

    __slots__ = ("_ask", "_base", "_chunked", "_reply", "_tokens")

    def __init__(self, reply: Reply, ask: Ask) -> None:
        self._reply, self._ask, self._chunked = reply, ask, reply.chunked
        self._base = b'data: {"id":"chatcmpl-%012x","object":"chat.completion.chunk","created":%d,"model":%b,' % (
            reply.number,
            reply.created,
            ask.model,
        )
        self._tokens = tuple(self._choice(b'{"content":"' + word + b'"}', b"null") for word in WORDS)

    def opening(self) -> bytes:
        """Headers and the chunk with the role, as they are sent when the slot is taken."""
        reply = self._reply
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        head = _head(200, b"text/event-stream", reply.keep_alive)
        role = self._choice(b'{"role":"assistant","content":null}', b"null")
        lines = reply.told + framing
        return b"%b%012x\r\ncache-control: no-cache\r\n%b\r\n%b" % (head, reply.number, lines, role)

    def tokens(self, first: int, end: int) -> bytes:
        """The chunks of the tokens `first` … `end` - 1, counted from 0."""
        return b"".join(self._tokens[k & 1] for k in range(first, end))

    def closing(self, tokens: int) -> bytes:
        """Finish reason, usage where it was asked for, [DONE], end of the body."""
        out = self._choice(b"{}", b'"' + finish(self._ask, tokens) + b'"')
        if self._ask.include_usage:
            out += self.frame(self._base + b'"choices":[],"usage":' + usage(self._ask, tokens) + b"}\n\n")
        return out + self.frame(DONE) + self.end()

    def error(self) -> bytes:
        return self.frame(b"data: " + error_body(500, "the upstream broke off", "upstream_error") + b"\n\n")

    def end(self) -> bytes:
        return LAST_CHUNK if self._chunked else b""

    def frame(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event

    def _choice(self, delta: bytes, finish_reason: bytes) -> bytes:
        choices = b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta, finish_reason)
        return self.frame(self._base + choices)
