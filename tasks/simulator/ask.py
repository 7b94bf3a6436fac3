"""The body of a chat completion request, as far as the simulator reads it."""

from typing import Any, NamedTuple

import orjson

from tasks.simulator.model import MAX_TOKENS


class Ask(NamedTuple):
    """One request."""

    model: bytes  # as JSON, quotes included
    stream: bool
    include_usage: bool
    tokens: int
    limited: bool  # the client set max_tokens, so that the answer ends by "length"
    prompt_tokens: int


class Refused(Exception):
    """An answer of status 4xx; no failure of the simulator."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def read_ask(body: bytes, models: tuple[str, ...], default_tokens: int) -> Ask:
    """Raises Refused."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise Refused(400, "the body must be a JSON object")
    model, messages, stream = raw.get("model"), raw.get("messages"), raw.get("stream")
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages must be a list with at least one message")
    if models and model not in models:
        raise Refused(404, f"The model `{model}` does not exist", "model_not_found")
    limit = raw.get("max_tokens")
    if limit is None:
        limit = raw.get("max_completion_tokens")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_TOKENS):
        raise Refused(400, f"max_tokens must be a whole number from 1 to {MAX_TOKENS}")
    options = raw.get("stream_options")
    return Ask(
        orjson.dumps(model),
        stream is True,
        isinstance(options, dict) and options.get("include_usage") is True,
        default_tokens if limit is None else limit,
        limit is not None,
        sum(map(words, messages)),
    )


def words(message: Any) -> int:
    """Whitespace-separated words of a message's content (text, or the text parts of a list): our prompt tokens."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return len(content.split())
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return sum(len(text.split()) for text in texts if isinstance(text, str))
    return 0
