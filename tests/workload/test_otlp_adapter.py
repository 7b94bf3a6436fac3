"""OTLP/JSON: model spans among the spans of frameworks, each call counted once."""

import json
from typing import Any

import pytest

from tasks.workload.formats.adapter import Drop, Row
from tasks.workload.formats.detect import choose
from tasks.workload.formats.otlp import OTLP

START_NS = 1_795_502_996_151_335_936
NEW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.stream": True,
    "gen_ai.request.max_tokens": 128,
    "gen_ai.usage.input_tokens": 21,
    "gen_ai.usage.output_tokens": 52,
    "gen_ai.conversation.id": "conv-1",
    "gen_ai.response.time_to_first_chunk": 0.25,
    "enduser.id": "u-007",
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
}
OLD = {
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.max_tokens": 128,
    "gen_ai.usage.prompt_tokens": 21,
    "gen_ai.usage.completion_tokens": 52,
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "hi",
}


def value(of: Any) -> dict[str, Any]:
    """An integer is a string in OTLP's JSON."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {kinds[type(of)]: str(of) if type(of) is int else of}


def span(attributes: dict[str, Any], id: str = "a1", parent: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "traceId": "t1",
        "spanId": id,
        "parentSpanId": parent,
        "name": "chat gpt-4o",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 10**9),
        "attributes": [{"key": k, "value": value(v)} for k, v in attributes.items()],
        "status": {"code": "STATUS_CODE_OK"},
    } | changes


def export(*spans: dict[str, Any]) -> bytes:
    return json.dumps(
        {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}
    ).encode()


def read(*lines: bytes) -> list[Row | Drop]:
    return list(OTLP().read(enumerate(lines, 1)))


def row(attributes: dict[str, Any], **changes: Any) -> Row:
    (only,) = read(export(span(attributes, **changes)))
    assert isinstance(only, Row), only
    return only


def test_a_span_of_today_is_read_field_by_field():
    assert row(NEW) == Row(
        line=1,
        call_id=None,
        start_ns=START_NS,
        end_ns=START_NS + 10**9,
        first_token_ns=START_NS + 250_000_000,
        model="gpt-4o",
        input_tokens=21,
        output_tokens=52,
        max_output_tokens=128,
        stream=True,
        session="conv-1",
        user="u-007",
        failure=None,
        cache_hit=None,
        messages=[{"role": "user", "content": "hi"}],
    )


def test_the_names_of_before_are_known_too():
    old = row(OLD)
    assert (old.model, old.input_tokens, old.output_tokens, old.max_output_tokens) == ("gpt-4o", 21, 52, 128)
    assert old.messages == [{"role": "user", "content": "hi"}]
    assert old.stream is None


def test_of_spans_inside_one_another_only_the_innermost_counts_even_with_a_framework_between_and_in_any_line():
    agent = span({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 21}, "agent")
    outer = span(NEW, "outer", "agent")
    between = span({"http.route": "/v1"}, "http", "outer")
    inner = span(NEW, "inner", "http")
    found = read(export(inner), export(between, outer, agent))
    assert [r.reason if isinstance(r, Drop) else r.line for r in found] == [
        "a span of no model",
        1,
        "a span around another model span",
        "operation invoke_agent",
    ]


def test_two_calls_side_by_side_are_two():
    found = read(export(span({}, "root"), span(NEW, "a", "root"), span(NEW, "b", "root")))
    assert len([r for r in found if isinstance(r, Row)]) == 2


def test_equal_span_ids_of_two_traces_are_two_spans():
    found = read(export(span(NEW, "x", traceId="t1"), span(NEW, "y", "x", traceId="t2")))
    assert len([r for r in found if isinstance(r, Row)]) == 2


def test_a_circle_of_parents_does_not_hang():
    assert len(read(export(span(NEW, "a", "b"), span(NEW, "b", "a")))) == 2


def test_the_group_that_litellm_was_asked_for_is_the_model():
    assert row(NEW | {"litellm.model_group": "chat-large", "litellm.call_id": "c1"}).call_id == "c1"
    assert row(NEW | {"litellm.model_group": "chat-large"}).model == "chat-large"


def test_an_error_is_an_arrival_without_output():
    failed = row(NEW | {"error.type": "RateLimitError"}, status={"code": "STATUS_CODE_ERROR"})
    assert (failed.failure, failed.output_tokens) == ("RateLimitError", None)
    assert row(NEW, status={"code": 2, "message": "my key is secret"}).failure == "error"


@pytest.mark.parametrize(
    ("attributes", "changes", "reason"),
    [
        ({"gen_ai.operation.name": "embeddings"}, {}, "operation embeddings"),
        ({"gen_ai.operation.name": "execute_tool"}, {}, "operation execute_tool"),
        ({"gen_ai.operation.name": "chat"}, {}, "no model"),
        (NEW, {"startTimeUnixNano": None}, "no startTimeUnixNano"),
        (NEW, {"startTimeUnixNano": "0"}, "no startTimeUnixNano"),
        (NEW | {"gen_ai.usage.input_tokens": "many"}, {}, "gen_ai.usage.input_tokens is not a whole number"),
    ],
)
def test_what_is_no_chat_is_dropped_by_reason(attributes, changes, reason):
    (only,) = read(export(span(attributes, **changes)))
    assert isinstance(only, Drop)
    assert only.reason == reason


def test_a_broken_line_and_an_export_without_spans_stop_nothing():
    found = read(
        b"{", b'{"resourceSpans": []}', b'{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}', export(span(NEW))
    )
    assert [r if isinstance(r, Drop) else r.line for r in found] == [
        Drop(1, "not JSON", broken=True),
        Drop(2, "an export without spans", broken=False),
        Drop(3, "a span that is no object", broken=True),
        4,
    ]


def test_an_export_is_known_by_its_content_be_it_a_line_or_a_document():
    assert choose("auto", [export(span(NEW))], "x").name == "otlp"
    pretty = json.dumps(json.loads(export(span(NEW))), indent=1).encode().splitlines()
    assert choose("auto", pretty, "x").name == "otlp"
    assert [r.line for r in read(*pretty)] == [1]
