"""What Portkey's open-source gateway shows on its log stream, saved as server-sent events: one `log` event a request.

`createdAt` is the start of an attempt, and of several the first counts. `executionTime` (ms) runs to the end of an
answer, of a stream only to its headers; of a stream neither usage nor end is told, so its input is guessed from the
bytes of its messages. The provider's key stands in the open in `providerOptions` and headers: nothing of them is read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, flag, moment_ns, part, plain, span_ns, text, tokens

CHAT = "chatComplete"  # what Portkey calls a chat completion, whatever the provider's own path for it
HITS = frozenset({"HIT", "SEMANTIC HIT"})


class PortkeyStream:
    """Adapter of a saved log stream."""

    name = "portkey_stream"
    arrival_basis = "createdAt of the first attempt (UTC)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        lines = [line for line in head if line.strip()]
        return lines[:1] == [b"event: connected"] or any(
            line.startswith(b"data: {") and b'"requestOptions"' in line for line in lines
        )

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        """An event is a record; one without data is none."""
        event = "message"
        for number, line in lines:
            field, _, value = line.partition(b":")
            if field == b"event":
                event = plain(value.strip().decode("utf-8", "replace")) or "unreadable"
            elif field == b"data":
                yield row_or_drop(number, value, _row) if event == "log" else Drop(number, f"event {event}", False)
            elif not line:
                event = "message"
            elif field not in (b"id", b"retry", b""):
                yield Drop(number, "no server-sent event", broken=True)


def _row(number: int, data: bytes) -> Row | Drop:
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Broken("not JSON") from None
    attempts = record.get("requestOptions") if isinstance(record, dict) else None
    if not isinstance(attempts, list) or not attempts or not all(isinstance(one, dict) for one in attempts):
        raise Broken("no requestOptions")
    asked, final = attempts[0], attempts[-1]
    reason = _unwanted(record, asked)
    if reason:
        return Drop(number, reason, broken=False)
    start_ns = moment_ns(asked.get("createdAt"), "createdAt", "iso")
    body = part(asked, "finalUntransformedRequest", "body") or part(asked, "requestParams")
    model = text(body.get("model"))
    if start_ns is None or model is None:
        raise Broken("no createdAt" if start_ns is None else "no model")
    stream, failure = bool(flag(body.get("stream"))), calls.failure(record.get("status"))
    usage = part(final, "response", "usage") or part(final, "originalResponse", "body", "usage")
    prompt, guessed = calls.counted(tokens(usage, "prompt_tokens"), calls.tokens_of_messages(body.get("messages")))
    return Row(
        line=number,
        call_id=None,  # hookSpanId is made anew for every request
        start_ns=start_ns,
        end_ns=None if stream and not failure else _end_ns(final),
        model=model,
        input_tokens=prompt,
        output_tokens=None if failure else tokens(usage, "completion_tokens"),
        max_output_tokens=cap(body),
        stream=stream,
        session=text(part(body, "metadata").get("session_id")),
        user=text(body.get("user")),
        failure=failure,
        cache_hit=True if str(final.get("cacheStatus")) in HITS else None,
        messages=body.get("messages"),
        approximate=guessed,
    )


def _unwanted(record: Mapping[str, Any], attempt: Mapping[str, Any]) -> str | None:
    """Portkey's own name of the call tells a chat, where it is there; else the path does."""
    options = part(attempt, "providerOptions")
    kind = options.get("rubeusURL")
    if kind is not None:
        return None if kind == CHAT else f"call of type {plain(kind) or 'unreadable'}"
    return calls.unwanted(record.get("method"), options.get("requestURL"))


def _end_ns(attempt: Mapping[str, Any]) -> int | None:
    start_ns = moment_ns(attempt.get("createdAt"), "createdAt", "iso")
    took_ns = span_ns(attempt.get("executionTime"), "executionTime", "ms")
    return None if start_ns is None or took_ns is None else start_ns + took_ns
