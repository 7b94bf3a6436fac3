"""Server-sent events -> token stamps, scanned as the bytes come.

Almost every event of a stream is one content token and differs from the last one only in its text: it is recognised by
what stands before and after the text (about 0.2 µs), or, where ids or times differ, by its patterns (0.6 µs), and never
parsed. Everything else (role, finish reason, usage, tool calls, reasoning, errors, unusual spacing) is parsed as JSON.
Inside a JSON string quotes are escaped, so the byte patterns cannot occur in a token's own text.
"""

import re
from typing import Any

import orjson

_CONTENT = b'"content":"'
_TEXT = re.compile(rb'(?:[^"\\]|\\.)+')
_AFTER = len(_CONTENT)
_QUOTE = ord('"')
_UNFINISHED = b'"finish_reason":null'
_USAGE = b'"usage":{'
_DELTA = b'"delta"'  # one of each choice
_DONE = b"[DONE]"
_ERROR = re.compile(rb"^event: ?error$", re.MULTILINE)
_BLANK = re.compile(rb"\n[\n\r]|\r\r")  # what a blank line has in it, and nothing else has
_LONG = 4096  # an unfinished event of this many bytes is not looked through again at every read
_LONGEST = 1 << 26  # and one of this many is no event
_BOM = b"\xef\xbb\xbf"  # may stand before the first event
_ANSWERS = ("content", "tool_calls", "refusal", "function_call")  # parts of a delta that are the answer


class TokenStream:
    """The facts of one streamed completion. `feed` takes the bytes of one read and the instant they were read."""

    __slots__ = (
        "bad_json",
        "done",
        "ending",
        "error",
        "finish_reason",
        "first_answer_ns",
        "first_token_ns",
        "gaps_us",
        "last_token_ns",
        "model",
        "more",
        "more_bytes",
        "prefix",
        "rest",
        "second",
        "suffix",
        "tail",
        "tokens",
        "usage",
    )

    def __init__(self) -> None:
        self.tail = b""  # of an event that has not ended
        self.more: list[bytes] = []  # and the reads that have come since, where it is a long one
        self.more_bytes = 0
        self.prefix = b"\n\n"  # of an event with one content token: up to its text; no event begins with this one
        self.suffix = b""  # and from the text's end
        self.ending = b""  # and with the blank line
        self.second = 0  # where the second byte of its text would be: the next quote ends the text
        self.rest = 0  # length of `ending`
        self.first_token_ns: int | None = None
        self.first_answer_ns: int | None = None
        self.last_token_ns: int | None = None
        self.gaps_us: list[int] = []
        self.tokens = 0  # chunks that carried a token
        self.done = False
        self.error: str | None = None
        self.bad_json = False
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.usage: dict[str, Any] | None = None

    def feed(self, data: bytes, now_ns: int) -> None:
        if (
            data.startswith(self.prefix)
            and data.endswith(self.ending)
            and data.find(b'"', self.second) == len(data) - self.rest
            and not self.tail
        ):  # one event, one more token: nearly all reads of nearly all streams
            self.tokens += 1
            self.gaps_us.append((now_ns - self.last_token_ns) // 1000)  # type: ignore[operator]  # there was a token
            self.last_token_ns = now_ns
            return
        if len(self.tail) >= _LONG:
            if _BLANK.search((self.more or (self.tail,))[-1][-2:] + data) is None:
                self._put_aside(data)
                return
            data = b"".join((*self.more, data))
            self.more.clear()
            self.more_bytes = 0
        buffer = self.tail + data if self.tail else data
        if b"\r" in buffer:
            buffer, held = (buffer[:-1], b"\r") if buffer.endswith(b"\r") else (buffer, b"")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        events = buffer.split(b"\n\n")
        self.tail = events.pop() + held
        prefix, suffix, second, rest = self.prefix, self.suffix, self.second, self.rest - 2
        alike = 0  # tokens in a row that came with this read
        for event in events:
            if event.startswith(prefix) and event.endswith(suffix) and event.find(b'"', second) == len(event) - rest:
                alike += 1
                continue
            if alike:
                self._tokens(alike, now_ns)
                alike = 0
            self._event(event, now_ns)
            prefix, suffix, second, rest = self.prefix, self.suffix, self.second, self.rest - 2
        if alike:
            self._tokens(alike, now_ns)

    def _put_aside(self, data: bytes) -> None:
        """In the midst of a long event: what comes is joined once, when it has ended."""
        self.more.append(data)
        self.more_bytes += len(data)
        if self.more_bytes > _LONGEST:
            self.bad_json = True
            self.more[:], self.more_bytes = [data[-2:]], 0

    def close(self, now_ns: int) -> None:
        """The body ended: an event without its blank line is still an event, one that was cut off is none."""
        if self.more or self.tail.strip():
            bad_json, whole = self.bad_json, self.tail.endswith(b"\n\r")
            self.feed(b"\n\n", now_ns)
            self.bad_json = self.bad_json if whole else bad_json

    def _event(self, event: bytes, now_ns: int) -> None:
        single = event.startswith(b"data: ") and b"\n" not in event
        if not single:
            event = event.removeprefix(_BOM)
        payload = event[6:] if single else _join_data(event)
        if not single and _ERROR.search(event) is not None:
            self.error = payload.decode("utf-8", "replace")[:200]
            return
        at = payload.find(_CONTENT)
        if (
            at >= 0
            and self.model is not None
            and payload[at + _AFTER : at + _AFTER + 1] != b'"'
            and _UNFINISHED in payload
            and _USAGE not in payload
            and payload.count(_DELTA) == 1
        ):
            self._tokens(1, now_ns)
            if single and not self.ending:
                self._learn(event)
        elif payload:
            self._parse(payload, now_ns)

    def _learn(self, event: bytes) -> None:
        """Later tokens are expected to look like this one."""
        at = event.index(_CONTENT) + _AFTER
        text = _TEXT.match(event, at)
        if text is None:
            return
        prefix, suffix = event[:at], event[text.end() :]
        if _UNFINISHED in prefix or _UNFINISHED in suffix:
            self.prefix, self.suffix, self.ending = prefix, suffix, suffix + b"\n\n"
            self.second, self.rest = at + 1, len(self.ending)

    def _tokens(self, count: int, now_ns: int) -> None:
        """`count` content tokens in one read: they came together."""
        self._token(now_ns, answer=True)
        if count > 1:
            self.tokens += count - 1
            self.gaps_us += [0] * (count - 1)

    def _token(self, now_ns: int, *, answer: bool) -> None:
        self.tokens += 1
        if self.last_token_ns is None:
            self.first_token_ns = now_ns
        else:
            self.gaps_us.append((now_ns - self.last_token_ns) // 1000)
        self.last_token_ns = now_ns
        if answer and self.first_answer_ns is None:
            self.first_answer_ns = now_ns

    def _parse(self, payload: bytes, now_ns: int) -> None:
        if payload.strip() == _DONE:
            self.done = True
            return
        try:
            frame = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self.bad_json = True
            return
        if not isinstance(frame, dict):
            self.bad_json = True
            return
        if frame.get("error") or frame.get("object") == "error":
            self.error = str(frame.get("error") or frame.get("message"))[:200]
            return
        if isinstance(frame.get("usage"), dict):
            self.usage = frame["usage"]
        choices = frame.get("choices")
        if not isinstance(choices, list):
            choices = []
        if not self.model and (choices or frame.get("model")):  # a first frame without choices may name no model
            self.model = str(frame.get("model") or "")
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice, now_ns)

    def _choice(self, choice: dict[str, Any], now_ns: int) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            answer = any(map(delta.get, _ANSWERS))
            if answer or delta.get("reasoning_content") or delta.get("reasoning"):
                self._token(now_ns, answer=answer)
        if choice.get("finish_reason"):
            self.finish_reason = str(choice["finish_reason"])


def _join_data(event: bytes) -> bytes:
    """The data lines of an event, joined; comments, ids and event names are passed over."""
    lines = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines)
