"""Portkey's log export: JSON lines, one request each, with the columns that were asked for.

`req_units` and `res_units` are tokens, `response_time` is in milliseconds. A session is the metadata key `_session` or
`session_id`, else the trace id, which groups calls where the client set it; the user is the metadata key `_user`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import cap, first, flag, moment_ns, part, span_ns, text, tokens
from tasks.workload.formats.table import rows, sample

SIGNS = frozenset({"ai_model", "ai_org", "req_units", "res_units"})
HITS, MISSES = frozenset({"HIT", "SEMANTIC HIT"}), frozenset({"MISS", "SEMANTIC MISS", "REFRESH"})


class Portkey:
    """Adapter of exported logs."""

    name = "portkey"
    arrival_basis = "created_at (UTC unless it says otherwise)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any("created_at" in record and len(record.keys() & SIGNS) > 1 for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def _row(number: int, record: dict[str, Any]) -> Row | Drop:
    reason = calls.unwanted(record.get("request_method"), record.get("request_url"))
    if reason:
        return Drop(number, reason, broken=False)
    start_ns = moment_ns(record.get("created_at"), "created_at")
    body = _body(record)
    model = text(record.get("ai_model")) or text(body.get("model"))
    if start_ns is None or model is None:
        raise Broken("no created_at" if start_ns is None else "no ai_model")
    took_ns = span_ns(record.get("response_time"), "response_time", "ms")
    failure = _failure(record)
    metadata = _metadata(record)
    prompt = tokens(record, "req_units")
    return Row(
        line=number,
        call_id=text(record.get("id")),
        start_ns=start_ns,
        end_ns=None if took_ns is None else start_ns + took_ns,
        model=model,
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failure else tokens(record, "res_units"),
        max_output_tokens=cap(body),
        stream=flag(record.get("stream_mode"), body.get("stream"), False if body else None),
        session=text(first(metadata, "_session", "session_id")) or text(record.get("trace_id")),
        user=text(metadata.get("_user")) or text(body.get("user")),
        failure=failure,
        cache_hit=_cache_hit(record.get("cache_status")),
        messages=body.get("messages"),
    )


def _failure(record: Mapping[str, Any]) -> str | None:
    failure = calls.failure(record.get("response_status_code"))
    return "failure" if failure is None and flag(str(record.get("is_success"))) is False else failure


def _body(record: Mapping[str, Any]) -> dict[str, Any]:
    """Under `request`, or under `request.body` as a path or as one name."""
    request = calls.body(first(record, "request.body", "request"))
    inner = calls.body(request.get("body"))
    return inner or request


def _metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """An object, or two lists of keys and values."""
    keys, values = record.get("metadata.key"), record.get("metadata.value")
    if isinstance(keys, list) and isinstance(values, list):
        return {str(key): value for key, value in zip(keys, values, strict=False)}
    return part(record, "metadata") or calls.body(record.get("metadata"))


def _cache_hit(status: Any) -> bool | None:
    return True if str(status) in HITS else False if str(status) in MISSES else None
