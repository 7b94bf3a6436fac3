"""One request of every log format, as its fields, with what writes such requests as a file. Each is read by its adapter
as it stands; a test may put anything in the place of any field."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
CHAT = {
    "model": "gpt-4o-mini",
    "stream": True,
    "max_tokens": 64,
    "user": "u-17",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
}


def json_lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def csv_table(records: Sequence[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def text_lines(template: str) -> Callable[[Sequence[dict[str, Any]]], bytes]:
    """A line cannot hold a line end: it is written as a space."""
    return lambda records: "".join(template.format(**r).replace("\n", " ") + "\n" for r in records).encode()


def spans(records: Sequence[dict[str, Any]]) -> bytes:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    exports = []
    for record in records:
        attributes = [{"key": k, "value": {kinds[type(v)]: v}} for k, v in record["attributes"].items()]
        span = record["span"] | {"attributes": attributes}
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": record["resource"]}}]}
        scope = {"scope": {"name": record["scope"]}, "spans": [span]}
        exports.append({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
    return json_lines(exports)


def events(records: Sequence[dict[str, Any]]) -> bytes:
    """Server-sent events, as Portkey's log stream."""
    return b"".join(b"event: log\ndata: " + json_lines([record]) + b"\n" for record in records)


@dataclass(frozen=True)
class Sample:
    format: str  # the adapter's name
    record: dict[str, Any]
    render: Callable[[Sequence[dict[str, Any]]], bytes] = json_lines

    def leaves(self) -> Iterator[Path]:
        """Where every single value of the record stands."""
        yield from _leaves(self.record, ())

    def planted(self, where: Path, value: str) -> dict[str, Any]:
        """The record with another value in one place."""
        record = deepcopy(self.record)
        inner: Any = record
        for key in where[:-1]:
            inner = inner[key]
        inner[where[-1]] = value
        return record


def _leaves(value: Any, where: Path) -> Iterator[Path]:
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*where, key))
    else:
        yield where


SAMPLES: dict[str, Sample] = {
    "litellm": Sample(
        "litellm",
        {
            "id": "chatcmpl-1",
            "litellm_call_id": "c-1",
            "trace_id": "s-1",
            "call_type": "acompletion",
            "status": "failure",
            "startTime": 1795502991.231255,
            "endTime": 1795502991.318939,
            "completionStartTime": 1795502991.280696,
            "model": "openai/routed",
            "model_group": "asked",
            "model_id": "1c10",
            "api_base": "http://10.1.2.3:8000/v1",
            "prompt_tokens": 26,
            "completion_tokens": 16,
            "cache_hit": False,
            "cache_key": "k",
            "end_user": "u-17",
            "request_tags": ["web"],
            "requester_ip_address": "10.1.2.4",
            "messages": CHAT["messages"],
            "response": {"choices": [{"message": {"content": "hello"}}]},
            "error_str": "it broke",
            "error_information": {"error_code": "429", "error_class": "RateLimitError", "error_message": "it broke"},
            "model_parameters": {"stream": True, "max_tokens": 64, "extra_headers": {"authorization": "x"}},
            "metadata": {
                "user_api_key_hash": "88dc",
                "user_api_key_user_email": None,
                "requester_metadata": {"session_id": "s-1", "headers": {"cookie": "x"}},
            },
            "hidden_params": {"api_base": "x", "additional_headers": {"set-cookie": "x"}},
        },
    ),
    "litellm_spend_logs": Sample(
        "litellm_spend_logs",
        {
            "request_id": "chatcmpl-1",
            "call_type": "acompletion",
            "api_key": "88dc",
            "spend": 0.1,
            "prompt_tokens": 10,
            "completion_tokens": 45,
            "startTime": "2026-11-24T06:49:51.231Z",
            "endTime": "2026-11-24T06:49:52.000Z",
            "completionStartTime": "2026-11-24T06:49:51.331Z",
            "model": "openai/routed",
            "model_group": "asked",
            "api_base": "http://127.0.0.1:18090/v1",
            "user": "u",
            "metadata": {
                "status": "failure",
                "error_information": {"error_code": "429", "error_class": "RateLimitError"},
            },
            "cache_hit": "False",
            "request_tags": ["web"],
            "team_id": "t",
            "end_user": "u-17",
            "requester_ip_address": "127.0.0.1",
            "messages": CHAT["messages"],
            "response": {"text": "hello"},
            "proxy_server_request": CHAT,
            "session_id": "s-1",
            "status": "success",
        },
    ),
    "otlp": Sample(
        "otlp",
        {
            "resource": "gateway",
            "scope": "litellm",
            "span": {
                "traceId": "t1",
                "spanId": "a1",
                "parentSpanId": "p1",
                "name": "chat m",
                "startTimeUnixNano": "1795502996151335936",
                "endTimeUnixNano": "1795502996251335936",
                "status": {"code": "STATUS_CODE_ERROR", "message": "it broke"},
                "events": [
                    {"name": "exception", "attributes": [{"key": "exception.message", "value": {"stringValue": "x"}}]}
                ],
            },
            "attributes": {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.request.stream": True,
                "gen_ai.request.max_tokens": 128,
                "gen_ai.usage.input_tokens": 21,
                "gen_ai.usage.output_tokens": 52,
                "gen_ai.conversation.id": "conv-1",
                "gen_ai.response.time_to_first_chunk": 0.25,
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": "hi",
                "litellm.call_id": "c-1",
                "enduser.id": "u-007",
                "error.type": "RateLimitError",
                "http.request.header.authorization": "x",
            },
        },
        spans,
    ),
    "openai": Sample(
        "openai",
        {
            "timestamp": "2026-11-24T06:49:51Z",
            "request_id": "r1",
            "session_id": "s1",
            "path": "/v1/chat/completions",
            "duration_ms": 500,
            "ttft_ms": 80,
            "status": 200,
            "headers": {"authorization": "x", "cookie": "x", "x-forwarded-for": "x"},
            "body": CHAT,
            "response": {
                "id": "chatcmpl-1",
                "usage": {"prompt_tokens": 9, "completion_tokens": 12},
                "error": {"code": "rate_limit", "type": "limit", "message": "it broke"},
            },
        },
    ),
    "azure": Sample(
        "azure",
        {"TIMESTAMP": "2023-11-16 18:17:03.9799600", "ContextTokens": 4808, "GeneratedTokens": 10},
        csv_table,
    ),
    "burstgpt": Sample(
        "burstgpt",
        {
            "Timestamp": 45.25,
            "Session ID": "1093",
            "Elapsed time": 1.5,
            "Model": "GPT-4",
            "Request tokens": 472,
            "Response tokens": 18,
            "Total tokens": 490,
            "Log Type": "API log",
        },
        csv_table,
    ),
    "mooncake": Sample(
        "mooncake", {"timestamp": 27000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 14, 15]}
    ),
    "nginx": Sample(
        "nginx",
        {
            "msec": 1795502991.467,
            "remote_addr": "127.0.0.1",
            "request_id": "r",
            "method": "POST",
            "uri": "/v1/chat/completions",
            "status": 200,
            "request_length": 574,
            "bytes_sent": 3873,
            "request_time": 0.233,
            "content_type": "text/event-stream",
            "user_agent": "app",
            "request_body": CHAT,
        },
        lambda records: json_lines(
            [r | {"request_body": json.dumps(b) if isinstance(b := r["request_body"], dict) else b} for r in records]
        ),
    ),
    "nginx, text": Sample(
        "nginx",
        {
            "address": "203.0.113.7",
            "user": "-",
            "time": "24/Nov/2026:06:49:51 +0100",
            "method": "POST",
            "uri": "/v1/chat/completions",
            "status": 200,
            "bytes": 3873,
            "referer": "-",
            "agent": "app",
        },
        text_lines('{address} - {user} [{time}] "{method} {uri} HTTP/1.1" {status} {bytes} "{referer}" "{agent}"'),
    ),
    "caddy": Sample(
        "caddy",
        {
            "level": "info",
            "ts": 1795521356.4038312,
            "logger": "http.log.access.log0",
            "msg": "handled request",
            "request": {
                "remote_ip": "127.0.0.1",
                "proto": "HTTP/1.1",
                "method": "POST",
                "host": "127.0.0.1:18957",
                "uri": "/v1/chat/completions",
                "headers": {"Content-Type": ["application/json"], "Authorization": ["x"], "Cookie": ["x"]},
            },
            "bytes_read": 141,
            "user_id": "",
            "duration": 0.055494673,
            "size": 332,
            "status": 200,
            "resp_headers": {"Content-Type": ["application/json"]},
        },
    ),
    "envoy": Sample(
        "envoy",
        {
            "bytes_received": 74,
            "bytes_sent": 1304,
            "content_type": "text/event-stream",
            "duration": 139,
            "method": "POST",
            "path": "/v1/chat/completions",
            "protocol": "HTTP/1.1",
            "request_id": "r",
            "response_code": 200,
            "response_flags": "-",
            "start_time": "2026-11-24T11:55:39.082Z",
            "upstream_service_time": "51",
            "user_agent": "app",
        },
    ),
    "helicone": Sample(
        "helicone",
        {
            "response_id": "b6f1",
            "response_created_at": "2026-11-24T06:49:52.500Z",
            "response_status": 200,
            "response_model": "gpt-4o-mini-2024-07-18",
            "request_id": "a001",
            "request_created_at": "2026-11-24T06:49:51.234Z",
            "request_path": "https://api.openai.com/v1/chat/completions",
            "request_user_id": "u-17",
            "request_properties": {"Helicone-Session-Id": "s-9", "env": "prod"},
            "request_model": "gpt-4o-mini",
            "provider": "OPENAI",
            "delay_ms": 1250,
            "time_to_first_token": 180,
            "prompt_tokens": 26,
            "completion_tokens": 16,
            "request_body": CHAT,
            "response_body": {"choices": [{"message": {"content": "hello"}}]},
        },
    ),
    "langfuse": Sample(
        "langfuse",
        {
            "id": "o-1",
            "trace_id": "t-1",
            "type": "GENERATION",
            "name": "chat",
            "start_time": "2026-11-24 06:49:51.234567",
            "end_time": "2026-11-24 06:49:52.500000",
            "completion_start_time": "2026-11-24 06:49:51.334567",
            "level": "ERROR",
            "status_message": "it broke",
            "provided_model_name": "gpt-4o",
            "model_parameters": {"temperature": 0.7, "max_tokens": 64},
            "usage_details": {"input": 26, "output": 16, "total": 42},
            "session_id": "s-9",
            "user_id": "u-17",
            "metadata": {"ip": "x"},
            "input": CHAT["messages"],
            "output": "hello",
        },
    ),
    "portkey": Sample(
        "portkey",
        {
            "id": "pk-1",
            "trace_id": "t-1",
            "created_at": "2026-11-24T06:49:51.234Z",
            "ai_org": "openai",
            "ai_model": "gpt-4o",
            "req_units": 26,
            "res_units": 16,
            "request_url": "https://api.openai.com/v1/chat/completions",
            "request_method": "POST",
            "response_status_code": 200,
            "response_time": 850,
            "is_success": 1,
            "stream_mode": "TRUE",
            "cache_status": "MISS",
            "request": {"headers": {"authorization": "x"}, "body": CHAT},
            "response": {"body": {"choices": [{"message": {"content": "hello"}}]}},
            "metadata": {"_user": "u-17", "env": "prod"},
        },
    ),
    "portkey_stream": Sample(
        "portkey_stream",
        {
            "time": "11/24/2026, 6:48:31 AM",
            "method": "POST",
            "status": 200,
            "duration": 140,
            "requestOptions": [
                {
                    "providerOptions": {"provider": "openai", "apiKey": "x", "rubeusURL": "chatComplete"},
                    "finalUntransformedRequest": {"body": CHAT},
                    "createdAt": "2026-11-24T06:48:31.774Z",
                    "cacheStatus": "DISABLED",
                    "executionTime": 136,
                    "transformedRequest": {"body": {"model": "m"}, "headers": {"authorization": "x"}},
                    "response": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}},
                }
            ],
        },
        events,
    ),
    "aiperf": Sample(
        "aiperf",
        {"session_id": "s", "timestamp": 105.5, "input_length": 1800, "output_length": 26, "hash_ids": [0, 3]},
    ),
}
