"""Langfuse's observations: its exports (CSV, JSON, JSON lines) and what its API gives, in snake or camel case.

Only generations are requests to a model: spans, events and the traces around them are dropped. A trace that holds its
observations (`GET /traces/ID`) is read as these, with its session and user. Usage has had several shapes; the newest,
`usage_details`, takes cached and audio tokens out of `input` into keys of their own, so that they are added up again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, count, first, flag, moment_ns, plain, text, tokens
from tasks.workload.formats.table import Record, records, sample

START = ("start_time", "startTime")
SIGNS = frozenset(
    {"completion_start_time", "completionStartTime", "provided_model_name", "providedModelName", "trace_id", "traceId"}
)
TRACE = ("session_id", "sessionId", "user_id", "userId")  # what a trace tells of its observations
DETAILS = ("usage_details", "usageDetails", "provided_usage_details")


class Langfuse:
    """Adapter of observations and of traces that hold them."""

    name = "langfuse"
    arrival_basis = "start_time (UTC unless it says otherwise)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_is_observation(one) for record in sample(head) for one in _observations(record))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for record in records(lines):
            if not isinstance(record, Record):
                yield record
                continue
            for one in _observations(record.value):
                yield row_or_drop(record.line, one, _row)


def _is_observation(record: Mapping[str, Any]) -> bool:
    """Spans of other tools have start and end too, but neither of these and a type."""
    return "type" in record and any(name in record for name in START) and not SIGNS.isdisjoint(record)


def _observations(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a trace, each with the trace's session and user; else the record itself."""
    inner = record.get("observations")
    if not isinstance(inner, list) or not inner or not all(isinstance(one, dict) for one in inner):
        return [record]
    shared = {name: record[name] for name in TRACE if record.get(name)}
    return [shared | {name: value for name, value in one.items() if value is not None} for one in inner]


def _row(number: int, record: dict[str, Any]) -> Row | Drop:
    kind = record.get("type")
    if kind is None and not any(name in record for name in START):
        return Drop(number, "a trace without observations", broken=False)
    if not isinstance(kind, str):
        raise Broken("no type")
    if kind.upper() != "GENERATION":
        return Drop(number, f"observation of type {plain(kind.upper()) or 'unreadable'}", broken=False)
    start_ns = moment_ns(first(record, *START), "start_time")
    model = text(first(record, "provided_model_name", "providedModelName", "model"))
    if start_ns is None or model is None:
        raise Broken("no start_time" if start_ns is None else "no provided_model_name")
    parameters = calls.body(first(record, "model_parameters", "modelParameters"))
    failure = "ERROR" if record.get("level") == "ERROR" else None
    first_ns = moment_ns(first(record, "completion_start_time", "completionStartTime"), "completion_start_time")
    end_ns = moment_ns(first(record, "end_time", "endTime"), "end_time")
    prompt, output = _usage(record)
    return Row(
        line=number,
        call_id=text(record.get("id")),
        start_ns=start_ns,
        end_ns=end_ns if end_ns is not None and end_ns >= start_ns else None,
        first_token_ns=first_ns if first_ns is not None and first_ns >= start_ns else None,
        model=model,
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failure else output,
        max_output_tokens=cap(parameters, "max_completion_tokens", "max_tokens", "maxTokens"),
        stream=flag(parameters.get("stream"), True if first_ns is not None else None),
        session=text(first(record, "session_id", "sessionId")),
        user=text(first(record, "user_id", "userId")),
        failure=failure,
        messages=_messages(record.get("input")),
    )


def _usage(record: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """(input, output) of the newest shape that tells any."""
    details = _details(first(record, *DETAILS))
    if any(isinstance(value, int | float) for value in details.values()):
        return _sides(details)
    usage = calls.body(record.get("usage"))
    return (
        _either(
            tokens(usage, "input", "promptTokens", "prompt_tokens", "input_tokens"),
            tokens(record, "input_usage", "inputUsage", "prompt_tokens", "promptTokens", "inputTokens"),
        ),
        _either(
            tokens(usage, "output", "completionTokens", "completion_tokens", "output_tokens"),
            tokens(record, "output_usage", "outputUsage", "completion_tokens", "completionTokens", "outputTokens"),
        ),
    )


def _details(value: Any) -> dict[str, Any]:
    """An object or its JSON; in Parquet a map, which is a list of keys and values."""
    pairs = value if isinstance(value, list) else []
    found = {str(p["key"]): p["value"] for p in pairs if isinstance(p, dict) and p.keys() == {"key", "value"}}
    return found or calls.body(value)


def _sides(details: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The sums of the keys that speak of input and of output. Where `input` and `output` make up `total` alone, the
    others are parts of them. Raises Broken."""
    plain_in, plain_out = tokens(details, "input", "prompt_tokens"), tokens(details, "output", "completion_tokens")
    if plain_in is not None and plain_out is not None and tokens(details, "total") == plain_in + plain_out:
        return plain_in, plain_out
    return _sum(details, "input", "prompt_tokens"), _sum(details, "output", "completion_tokens")


def _sum(details: Mapping[str, Any], side: str, whole: str) -> int | None:
    """`input`, `input_cached_tokens`, `cache_read_input_tokens` … or, without any, `prompt_tokens`."""
    counts = [count(value, name) for name, value in details.items() if side in name and value is not None]
    return sum(counts) if counts else tokens(details, whole)


def _either(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def _messages(value: Any) -> Any:
    """The input as a chat: a list of messages, or an object that holds one; kept at privacy "text" only."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    if isinstance(value, dict):
        value = value.get("messages")
    return value if isinstance(value, list) else None
