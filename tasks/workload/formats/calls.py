"""What logs of HTTP calls have in common: which of them are chats, which failed, and how many tokens bytes may be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats.adapter import Broken
from tasks.workload.formats.fields import count, plain

UNNAMED = "unknown"  # the model of a request whose log names none
CHAT_PATH = re.compile(r"(?:/chat/completions|/v1/messages|:(?:stream)?[Gg]enerateContent)/?$")
OK = range(200, 300)

# Of English text and code a token is about 4 bytes, and a chat template adds about 4 tokens a message: within 30 % of
# what a model server counted for the prompts that its own usage could be compared with.
BYTES_A_TOKEN = 4
TOKENS_A_MESSAGE = 4
REQUEST_ENVELOPE = 150  # bytes of a chat request's JSON besides its text
RESPONSE_ENVELOPE = 250  # bytes of an answer's JSON besides its text
BYTES_AN_EVENT = 250  # of one token in a stream of server-sent events


def unwanted(method: Any, path: Any) -> str | None:
    """Why a call is no chat request, or None. Absent facts are not held against it. Raises Broken."""
    if path is not None and not isinstance(path, str):
        raise Broken("the path is not text")
    if path is not None and not CHAT_PATH.search(path.partition("?")[0]):
        return "no chat completion"
    if method is not None and method != "POST":
        return f"method {plain(method) or 'unreadable'}"
    return None


def failure(status: Any) -> str | None:
    """The HTTP status as text unless it is 2xx; None also where none was logged. Raises Broken."""
    if status is None or status == "":
        return None
    code = count(status, "status")
    return None if code in OK else str(code)


def body(value: Any) -> dict[str, Any]:
    """A logged body, be it an object or JSON text; empty where it is neither."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def tokens_of_messages(messages: Any) -> int | None:
    """A guess from the bytes of their text; None where there is none."""
    if not isinstance(messages, list) or not messages:
        return None
    size = sum(_text_bytes(message.get("content")) for message in messages if isinstance(message, Mapping))
    return max(1, round(size / BYTES_A_TOKEN) + TOKENS_A_MESSAGE * len(messages))


def tokens_of_text(text: Any) -> int | None:
    """A guess from the bytes of a prompt that is one message."""
    return tokens_of_messages([{"content": text}]) if isinstance(text, str) and text else None


def tokens_of_request(size: int | None, headers: int = 0) -> int | None:
    """A guess from the bytes of a request, of which `headers` are no body; None where the size is unknown or 0."""
    return max(1, (size - headers - REQUEST_ENVELOPE) // BYTES_A_TOKEN) if size else None


def tokens_of_response(size: int | None, stream: bool | None, cap: int | None = None, headers: int = 0) -> int | None:
    """A guess from the bytes of an answer, of which `headers` are no body, and never over the cap that was asked; None
    where it is unknown whether it was streamed, for then it would be off by a factor of 50."""
    if not size or stream is None:
        return None
    body = size - headers
    guess = max(1, body // BYTES_AN_EVENT if stream else (body - RESPONSE_ENVELOPE) // BYTES_A_TOKEN)
    return guess if cap is None else min(guess, cap)


def counted(told: int | None, guess: int | None) -> tuple[int | None, bool]:
    """A token count, and whether it is the guess."""
    return (guess, guess is not None) if told is None else (told, False)


def is_stream(content_type: Any, *, of_response: bool = True) -> bool | None:
    """What the Content-Type says of streaming. One that may be the request's own says it only where it is a stream."""
    if not isinstance(content_type, str):
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return True
    return False if of_response and kind == "application/json" else None


def _text_bytes(content: Any) -> int:
    if isinstance(content, str):
        return len(content.encode("utf-8", "surrogatepass"))
    if isinstance(content, Sequence):
        return sum(_text_bytes(part.get("text")) for part in content if isinstance(part, Mapping))
    return 0
