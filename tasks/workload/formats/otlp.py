"""OpenTelemetry spans as OTLP/JSON (what the collector's file exporter writes), with the GenAI attributes of today and
those before semantic conventions 1.37 (`gen_ai.system`, `gen_ai.usage.prompt_tokens`).

Most spans are of frameworks. Of model spans that lie inside one another only the innermost counts: an agent, or a
second instrumentation around the same call, would count its tokens twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from tasks.workload.formats.adapter import Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, first, flag, moment_ns, plain, span_ns, text, tokens
from tasks.workload.formats.table import records, sample

CHAT = ("chat", "generate_content", "completion", "acompletion")
ERROR = (2, "2", "STATUS_CODE_ERROR")
Id = tuple[Any, Any]  # trace, span


class _Span(NamedTuple):
    line: int
    span: Mapping[str, Any]
    attributes: dict[str, Any]


class OTLP:
    """Adapter of OTLP/JSON trace exports. A row is a span."""

    name = "otlp"
    arrival_basis = "startTimeUnixNano (ns since the epoch, UTC)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(isinstance(record.get("resourceSpans"), list) for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        """Model spans are held back to the end of the file: only then it is known what lies inside them."""
        parents: dict[Id, Id] = {}
        held: list[tuple[Id, Row | Drop]] = []
        for found in _spans(lines):
            if isinstance(found, Drop):
                yield found
                continue
            here = (text(found.span.get("traceId")), text(found.span.get("spanId")))
            if parent := text(found.span.get("parentSpanId")):
                parents[here] = (here[0], parent)
            if _of_a_model(found.attributes):
                held.append((here, row_or_drop(found.line, found, _row_if_chat)))
            else:
                yield Drop(found.line, "a span of no model", broken=False)
        around = _ancestors([here for here, record in held if isinstance(record, Row)], parents)
        for here, record in held:
            outer = isinstance(record, Row) and here in around
            yield Drop(record.line, "a span around another model span", broken=False) if outer else record


def _spans(lines: Iterable[Line]) -> Iterator[_Span | Drop]:
    for record in records(lines):
        if isinstance(record, Drop):
            yield record
            continue
        found = list(_spans_of(record.value))
        if not found:
            yield Drop(record.line, "an export without spans", broken=False)
        for span in found:
            if isinstance(span, Mapping):
                yield _Span(record.line, span, _attributes(span.get("attributes")))
            else:
                yield Drop(record.line, "a span that is no object", broken=True)


def _spans_of(record: Mapping[str, Any]) -> Iterator[Any]:
    for resource in _list(record.get("resourceSpans")):
        for name in ("scopeSpans", "instrumentationLibrarySpans"):
            for scope in _list(resource.get(name) if isinstance(resource, Mapping) else None):
                yield from _list(scope.get("spans") if isinstance(scope, Mapping) else None)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _attributes(pairs: Any) -> dict[str, Any]:
    """By key. An `intValue` is a string in JSON, for it may hold 64 bits."""
    found: dict[str, Any] = {}
    for pair in _list(pairs):
        value = pair.get("value") if isinstance(pair, Mapping) else None
        if isinstance(value, Mapping) and isinstance(pair.get("key"), str):
            found[pair["key"]] = next(iter(value.values()), None)
    return found


def _of_a_model(attributes: Mapping[str, Any]) -> bool:
    return not attributes.keys().isdisjoint(
        {"gen_ai.operation.name", "gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"}
    )


def _ancestors(spans: Iterable[Id], parents: Mapping[Id, Id]) -> set[Id]:
    """Everything around these spans; a circle of parents ends."""
    around: set[Id] = set()
    for here in spans:
        above = parents.get(here)
        while above is not None and above not in around:
            around.add(above)
            above = parents.get(above)
    return around


def _row_if_chat(line: int, found: _Span) -> Row | Drop:
    operation = first(found.attributes, "gen_ai.operation.name", "llm.request.type")
    if operation is not None and operation not in CHAT:
        return Drop(line, f"operation {plain(operation) or 'unreadable'}", broken=False)
    return _row(line, found.span, found.attributes)


def _row(line: int, span: Mapping[str, Any], of: Mapping[str, Any]) -> Row:
    start_ns = moment_ns(span.get("startTimeUnixNano"), "startTimeUnixNano", "ns")
    # LiteLLM's own attribute is what the client asked; the standard one is where it was routed
    model = text(first(of, "litellm.model_group", "gen_ai.request.model", "gen_ai.response.model"))
    if not start_ns or model is None:
        raise Broken("no model" if start_ns else "no startTimeUnixNano")
    end_ns = moment_ns(span.get("endTimeUnixNano"), "endTimeUnixNano", "ns")
    chunk_ns = span_ns(of.get("gen_ai.response.time_to_first_chunk"), "time_to_first_chunk", "s")
    prompt = tokens(of, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
    failure = _failure(span, of)
    return Row(
        line=line,
        call_id=text(of.get("litellm.call_id")),
        start_ns=start_ns,
        end_ns=end_ns if end_ns is not None and end_ns >= start_ns else None,
        first_token_ns=None if chunk_ns is None else start_ns + chunk_ns,
        model=model,
        input_tokens=prompt if prompt else None,
        output_tokens=None if failure else tokens(of, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        max_output_tokens=cap(of, "gen_ai.request.max_tokens"),
        stream=flag(
            of.get("gen_ai.request.stream"), of.get("llm.is_streaming"), True if chunk_ns is not None else None
        ),
        session=text(first(of, "gen_ai.conversation.id", "session.id")),
        user=text(first(of, "enduser.id", "user.id", "llm.user")),
        failure=failure,
        messages=_messages(of),
    )


def _failure(span: Mapping[str, Any], of: Mapping[str, Any]) -> str | None:
    status = span.get("status")
    kind = plain(of.get("error.type"))
    if isinstance(status, Mapping) and status.get("code") in ERROR:
        return kind or "error"
    return kind


def _messages(of: Mapping[str, Any]) -> Any:
    """`gen_ai.input.messages` is JSON with parts, today; numbered attributes (`gen_ai.prompt.0.content`), before."""
    logged = of.get("gen_ai.input.messages")
    if isinstance(logged, str):
        try:
            logged = orjson.loads(logged)
        except orjson.JSONDecodeError:
            return None
        return [_message(message) for message in _list(logged) if isinstance(message, Mapping)]
    found: list[dict[str, Any]] = []
    while (content := of.get(f"gen_ai.prompt.{len(found)}.content")) is not None:
        found.append({"role": of.get(f"gen_ai.prompt.{len(found)}.role", "user"), "content": content})
    return found or None


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    parts = [
        p.get("content") for p in _list(message.get("parts")) if isinstance(p, Mapping) and p.get("type") == "text"
    ]
    return {"role": message.get("role"), "content": "\n".join(p for p in parts if isinstance(p, str))}
