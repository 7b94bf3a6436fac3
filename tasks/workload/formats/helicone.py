"""Helicone's request export: JSON, JSON lines or CSV, as its export tool and its API of requests write them.

`delay_ms` is the whole duration (`latency` in CSV), `time_to_first_token` is in milliseconds and only told of streams.
A session is what the client sent as the property Helicone-Session-Id. The tool doubles the quotes of JSON in CSV twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import cap, first, flag, moment_ns, part, span_ns, text, tokens
from tasks.workload.formats.table import rows, sample

SESSION = "helicone-session-id"
STATUSES = {-2: "pending", -3: "cancelled", -4: "timeout"}  # Helicone's own, of calls without an HTTP status


class Helicone:
    """Adapter of exported requests."""

    name = "helicone"
    arrival_basis = "request_created_at (UTC unless it says otherwise)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any("request_created_at" in record and "response_status" in record for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def _row(number: int, record: dict[str, Any]) -> Row | Drop:
    reason = calls.unwanted("POST", _path(record))
    if reason:
        return Drop(number, reason, broken=False)
    start_ns = moment_ns(record.get("request_created_at"), "request_created_at")
    if start_ns is None:
        raise Broken("no request_created_at")
    body = _object(record.get("request_body"))
    model = (
        text(first(record, "request_model", "model")) or text(body.get("model")) or text(record.get("response_model"))
    )
    if model is None:
        raise Broken("no model")
    failure = _failure(record.get("response_status"))
    first_ns = span_ns(record.get("time_to_first_token"), "time_to_first_token", "ms")
    prompt = tokens(record, "prompt_tokens")
    return Row(
        line=number,
        call_id=text(first(record, "request_id", "response_id")),
        start_ns=start_ns,
        end_ns=_end_ns(record, start_ns),
        first_token_ns=None if first_ns is None else start_ns + first_ns,
        model=model,
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failure else tokens(record, "completion_tokens"),
        max_output_tokens=cap(body),
        stream=_stream(body, first_ns),
        session=_session(record),
        user=text(first(record, "request_user_id", "helicone_user")),
        failure=failure,
        cache_hit=_cache_hit(record),
        messages=body.get("messages"),
    )


def _path(record: Mapping[str, Any]) -> str | None:
    """Where the call went, without its host; None where only a host is told."""
    path = text(first(record, "request_path", "target_url"))
    return None if path is None or path.count("/") < (3 if "://" in path else 1) else path


def _failure(status: Any) -> str | None:
    if isinstance(status, str) and status.lstrip("-").isdigit():
        status = int(status)
    own = STATUSES.get(status) if isinstance(status, int) else None
    return calls.failure(status) if own is None else own


def _end_ns(record: Mapping[str, Any], start_ns: int) -> int | None:
    took_ns = span_ns(first(record, "delay_ms", "latency"), "delay_ms", "ms")
    if took_ns is not None:
        return start_ns + took_ns
    end_ns = moment_ns(record.get("response_created_at"), "response_created_at")
    return end_ns if end_ns is not None and end_ns >= start_ns else None


def _stream(body: Mapping[str, Any], first_ns: int | None) -> bool | None:
    """As the body asks; without one, a first token is only told of streams."""
    if body:
        return bool(flag(body.get("stream")))
    return True if first_ns is not None else None


def _session(record: Mapping[str, Any]) -> str | None:
    properties = _object(record.get("request_properties")) or part(record, "properties")
    return next((text(value) for name, value in properties.items() if name.lower() == SESSION), None)


def _cache_hit(record: Mapping[str, Any]) -> bool | None:
    """A cached answer refers to the one it repeats; other answers to a nil id. None where nothing is told."""
    reference = record.get("cache_reference_id")
    return None if reference is None else bool(str(reference).strip("0-"))


def _object(value: Any) -> dict[str, Any]:
    """An object, its JSON, or its JSON with every quote doubled once more."""
    found = calls.body(value)
    return found or (calls.body(value.replace('""', '"')) if isinstance(value, str) else {})
