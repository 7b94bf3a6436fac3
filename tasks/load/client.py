"""One exchange -> one Sample: was it ok, and if not, why not.

ok = 2xx, and `[DONE]` or a finish reason, and at least one content, reasoning or tool-call token, and no error frame.
Status alone lies: gateways answer 200 to a broken upstream in five ways.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from storage.records import Failure, Sample
from tasks.load.stream import TokenStream
from tasks.load.wire import Exchange

_COUNT_LIMIT = 2**31  # of what a row can hold: a gateway may say anything


class Asked(NamedTuple):
    """What the engine knows of a request when it sends it."""

    seq: int
    phase: str
    stream_label: str
    intended_ns: int  # absolute
    model: str
    stream: bool


class _Facts(NamedTuple):
    failure: Failure | None
    model: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None


def watch(exchange: Exchange, stream: bool) -> TokenStream | None:
    """When the headers are in: scan a stream as it comes; anything else is collected and read at its end."""
    if not stream or exchange.status is None or not 200 <= exchange.status < 300:
        return None
    if "json" in (exchange.header(b"content-type") or ""):
        return None
    tokens = TokenStream()
    exchange.on_body = tokens.feed
    return tokens


def to_sample(exchange: Exchange, tokens: TokenStream | None, asked: Asked, t0: int) -> Sample:
    """The row of this attempt; instants become nanoseconds from the leg's `t0`."""
    if tokens is not None:
        tokens.close(exchange.end_ns)
    facts = _judge(exchange, tokens)
    sent = exchange.sent_ns or exchange.started_ns
    end = exchange.end_ns
    first = answer = last = gaps = None
    if tokens is not None:
        first, answer, last = tokens.first_token_ns, tokens.first_answer_ns, tokens.last_token_ns
        gaps = tokens.gaps_us
    elif facts.failure is None:  # a plain answer comes whole
        first = answer = last = end
    dns, connected, tls, headers = exchange.dns_ns, exchange.connected_ns, exchange.tls_ns, exchange.headers_ns
    words = _gateway_words(exchange) if exchange.headers else _NO_WORDS
    return Sample(
        asked.seq,
        asked.phase,
        asked.stream_label,
        asked.intended_ns - t0,
        sent - t0,
        None if dns is None else dns - t0,
        None if connected is None else connected - t0,
        None if tls is None else tls - t0,
        None if headers is None else headers - t0,
        None if first is None else first - t0,
        None if answer is None else answer - t0,
        None if last is None else last - t0,
        end - t0,
        gaps,
        asked.stream,
        facts.input_tokens,
        facts.output_tokens,
        len(exchange.payload),
        exchange.response_bytes,
        exchange.status,
        facts.failure,
        facts.finish_reason,
        asked.model,
        facts.model,
        words.cache_hit,
        words.fallbacks,
        words.attempts,
        words.retry_after_s,
        words.request_id,
        exchange.reused,
        exchange.resends,
        facts.cached_tokens,
    )


def _judge(exchange: Exchange, tokens: TokenStream | None) -> _Facts:
    if tokens is not None:
        facts = _judge_stream(exchange, tokens)
    else:
        failure = _refusal(exchange)
        if failure is not None:
            return _Facts(failure, None, None, None, None, None)
        facts = _judge_plain(b"".join(exchange.body))
    if facts.failure in _UNREADABLE and exchange.header(b"content-encoding") not in (None, "identity"):
        return facts._replace(failure=Failure.PROTOCOL)  # compressed, and nobody asked for it
    return facts


def _refusal(exchange: Exchange) -> Failure | None:
    """A refusal is one, even if its text broke off; what broke off a good answer is told otherwise."""
    failure = exchange.failure
    if failure is None:
        return _status_failure(exchange.status)
    if exchange.status is None or failure in _CUT_BY_US:
        return failure
    refusal = _status_failure(exchange.status)
    return failure if refusal is None else refusal


_CUT_BY_US = frozenset({Failure.CENSORED, Failure.CANCELLED})
_UNREADABLE = frozenset({Failure.BAD_JSON, Failure.EMPTY, Failure.TRUNCATED})


def _status_failure(status: int | None) -> Failure | None:
    if status is None:
        return Failure.PROTOCOL
    if 200 <= status < 300:
        return None
    if status == 429:
        return Failure.RATE_LIMITED
    if status >= 500:
        return Failure.HTTP_5XX
    return Failure.HTTP_4XX if status >= 400 else Failure.HTTP_3XX


def _judge_stream(exchange: Exchange, tokens: TokenStream) -> _Facts:
    failure: Failure | None = exchange.failure
    if tokens.error is not None:
        failure = Failure.STREAM_ERROR
    elif failure is not None:
        pass
    elif tokens.bad_json:
        failure = Failure.BAD_JSON
    elif tokens.finish_reason is None and not tokens.done:
        failure = Failure.TRUNCATED if tokens.tokens else Failure.EMPTY
    elif not tokens.tokens:
        failure = Failure.EMPTY
    return _Facts(failure, tokens.model or None, tokens.finish_reason, *_usage(tokens.usage))


def _judge_plain(body: bytes) -> _Facts:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Facts(Failure.BAD_JSON if body.strip() else Failure.EMPTY, None, None, None, None, None)
    if not isinstance(answer, dict):
        return _Facts(Failure.BAD_JSON, None, None, None, None, None)
    choices = answer.get("choices")
    choice = _table(choices[0]) if isinstance(choices, list) and choices else {}
    message = _table(choice.get("message"))
    failure = None
    if answer.get("error") or answer.get("object") == "error":
        failure = Failure.STREAM_ERROR
    elif not message.get("content") and not any(message.get(part) for part in _OTHER_ANSWERS):
        failure = Failure.EMPTY
    reason = choice.get("finish_reason")
    return _Facts(
        failure,
        str(answer["model"]) if answer.get("model") else None,
        str(reason) if reason else None,
        *_usage(answer.get("usage")),
    )


_OTHER_ANSWERS = ("tool_calls", "function_call", "reasoning_content", "reasoning", "refusal")


def _usage(value: Any) -> tuple[int | None, int | None, int | None]:
    """(input tokens, output tokens, those of the input that came from the provider's prompt cache)."""
    usage = _table(value)
    details = _table(usage.get("prompt_tokens_details"))
    told = usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")
    return _count(told[0]), _count(told[1]), _count(told[2])


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _COUNT_LIMIT else None


class _Words(NamedTuple):
    """What a gateway says of its own doing, in the headers of LiteLLM, Portkey and plain proxies."""

    cache_hit: bool | None = None
    fallbacks: int | None = None
    attempts: int | None = None
    retry_after_s: float | None = None
    request_id: str | None = None


_NO_WORDS = _Words()
_WORDS = {
    b"x-litellm-attempted-fallbacks": "fallbacks",
    b"x-litellm-attempted-retries": "attempts",
    b"x-portkey-retry-attempt-count": "attempts",
    b"retry-after": "retry_after_s",
    b"llm_provider-retry-after": "retry_after_s",
    b"x-request-id": "request_id",
    b"x-litellm-call-id": "request_id",
    b"x-portkey-trace-id": "request_id",
    b"x-litellm-cache-key": "cached_as",  # LiteLLM names the key of an answer only if it comes from its cache
    b"x-litellm-cache-hit": "cache_hit",
    b"x-portkey-cache-status": "cache_hit",
    b"cf-aig-cache-status": "cache_hit",
    b"helicone-cache": "cache_hit",
    b"x-cache-status": "cache_hit",
    b"x-cache": "cache_hit",
}


def _gateway_words(exchange: Exchange) -> _Words:
    found: dict[str, Any] = {}
    for name, value in exchange.headers:
        field = _field_of(name)
        if field is not None and field not in found:
            parsed = _parse_word(field, value.decode("latin-1"))
            if parsed is not None:
                found["cache_hit" if field == "cached_as" else field] = parsed
    return _Words(**found) if found else _NO_WORDS


@lru_cache(maxsize=4096)
def _field_of(name: bytes) -> str | None:
    return _WORDS.get(name.lower())


def _parse_word(field: str, text: str) -> int | float | bool | str | None:
    if field == "request_id":
        return text[:200]
    if field == "cache_hit":
        said = text.strip().lower()
        return said in ("true", "1") or "hit" in said  # also SEMANTIC HIT, and Hit from …
    if field == "cached_as":
        return True if text.strip() else None
    try:
        number = float(text)
    except ValueError:
        return None  # Retry-After may be a date
    if not 0 <= number < _COUNT_LIMIT:  # nor is this a number of anything
        return None
    return number if field == "retry_after_s" else int(number)
