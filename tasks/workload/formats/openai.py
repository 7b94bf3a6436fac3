"""A request log of an OpenAI-style API as JSON lines: when, what was asked (under `body`, `request`, or at the top),
and what came back (under `response`, or at the top).

Many gateways and home-made proxies write something like it, so the names of each field are several.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import cap, first, flag, moment_ns, part, plain, span_ns, text, tokens
from tasks.workload.formats.table import rows, sample

STAMPS = ("timestamp", "created_at", "created", "time", "ts")
BODIES = ("body", "request", "request_body")
ADDRESSES = ("url", "path", "uri", "endpoint", "route")
LEAST_ERROR, MOST_STATUS = 400, 599


class OpenAI:
    """Adapter of OpenAI-style request logs."""

    name = "openai"
    arrival_basis = "timestamp, created_at or created (ISO 8601, UTC where no zone is written, or since the epoch)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_looks_like(record) for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row_if_chat)


def _looks_like(record: Mapping[str, Any]) -> bool:
    asked = _asked(record)
    return first(record, *STAMPS) is not None and "model" in asked and ("messages" in asked or asked is not record)


def _asked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of the request: an object, or JSON text; the record itself where it has none."""
    for name in BODIES:
        value = _parsed(record.get(name))
        inner = _parsed(value.get("body")) if isinstance(value, dict) else None
        if isinstance(inner, dict):
            return inner
        if isinstance(value, dict):
            return value
    return record


def _answer(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of the response, or the record itself."""
    value = _parsed(first(record, "response", "response_body"))
    if not isinstance(value, dict):
        return record
    inner = _parsed(value.get("body"))
    return inner if isinstance(inner, dict) else value


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _row_if_chat(line: int, record: dict[str, Any]) -> Row | Drop:
    asked = _asked(record)
    address = first(record, *ADDRESSES)
    if isinstance(address, str) and "chat/completions" not in address:
        return Drop(line, "a call other than chat completions", broken=False)
    if address is None and "messages" not in asked and not {"input", "prompt"}.isdisjoint(asked):
        return Drop(line, "a call other than chat completions", broken=False)
    return _row(line, record, asked)


def _row(line: int, record: dict[str, Any], asked: Mapping[str, Any]) -> Row:
    stamp = next((name for name in STAMPS if first(record, name) is not None), None)
    start_ns = None if stamp is None else moment_ns(record[stamp], stamp)
    model = text(asked.get("model")) or text(record.get("model"))
    if start_ns is None or model is None:
        raise Broken(f"no {', '.join(STAMPS[:-1])} or {STAMPS[-1]}" if start_ns is None else "no model")
    answer = _answer(record)
    usage = part(answer, "usage") or part(record, "usage")
    failure = _failure(record, answer)
    prompt = tokens(usage, "prompt_tokens", "input_tokens")
    wait_ns = _span(record, "ttft_ms", "time_to_first_token_ms")
    return Row(
        line=line,
        call_id=_call_id(record),
        start_ns=start_ns,
        end_ns=_end(record, start_ns),
        first_token_ns=None if wait_ns is None else start_ns + wait_ns,
        model=model,
        input_tokens=prompt if prompt else None,
        output_tokens=None if failure else tokens(usage, "completion_tokens", "output_tokens"),
        max_output_tokens=cap(asked),
        stream=flag(asked.get("stream"), record.get("stream")),
        session=text(first(record, "session_id", "conversation_id") or part(asked, "metadata").get("session_id")),
        user=text(asked.get("user")) or text(record.get("user")),
        failure=failure,
        cache_hit=flag(record.get("cache_hit")),
        messages=asked.get("messages"),
    )


def _call_id(record: Mapping[str, Any]) -> str | None:
    """The gateway's own; not the id of the answer, which some servers make the same for all."""
    found = text(first(record, "request_id", "id"))
    return None if found is None or found.startswith(("chatcmpl", "cmpl-")) else found


def _end(record: Mapping[str, Any], start_ns: int) -> int | None:
    lasted_ns = _span(record, "duration_ms", "latency_ms")
    if lasted_ns is not None:
        return start_ns + lasted_ns
    ended = next((name for name in ("completed_at", "ended_at") if first(record, name) is not None), None)
    end_ns = None if ended is None else moment_ns(record[ended], ended)
    return end_ns if end_ns is not None and end_ns >= start_ns else None


def _span(record: Mapping[str, Any], *names: str) -> int | None:
    name = next((name for name in names if first(record, name) is not None), None)
    return None if name is None else span_ns(record[name], name, "ms")


def _failure(record: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    """The status from 400 on, else the kind of the error, else None."""
    status = first(record, "status_code", "status") or part(record, "response").get("status_code")
    code = plain(status)
    if code is not None and code.isdigit() and LEAST_ERROR <= int(code) <= MOST_STATUS:
        return code
    error = answer.get("error") or record.get("error")
    if not error:
        return None
    kind = first(error, "code", "type") if isinstance(error, Mapping) else None
    return plain(kind) or "error"
