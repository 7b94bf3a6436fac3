"""One log of every format, told apart by its content alone: whole, by its first record, and packed. Each sample is the
smallest that its adapter's own tests read, and made here; those tests say which are like real ones."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tasks.workload.capture import capture
from tasks.workload.formats.adapter import Drop, Row
from tasks.workload.formats.detect import ADAPTERS, choose

LOGS = Path(__file__).parents[3] / "shared" / "data" / "gateway-logs"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SPAN = {
    "traceId": "t",
    "spanId": "s",
    "name": "chat m",
    "startTimeUnixNano": "1795502996060252054",
    "endTimeUnixNano": "1795502996838543541",
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
    ],
}
HTTP = {"method": "POST", "path": "/v1/chat/completions", "duration": 139, "bytes_received": 74, "bytes_sent": 1304}


def lines(*records: Any) -> list[str]:
    return [record if isinstance(record, str) else json.dumps(record) for record in records]


SAMPLES: dict[str, tuple[str, list[str]]] = {  # a name of the sample -> format, lines; one record each
    "litellm": (
        "litellm",
        lines(
            {
                "litellm_call_id": "c",
                "call_type": "acompletion",
                "status": "success",
                "startTime": 1_795_502_991.0,
                "model": "m",
                "model_parameters": {},
            }
        ),
    ),
    "spend logs": (
        "litellm_spend_logs",
        lines(
            "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,model",
            "r,acompletion,h,0.1,42,26,16,2026-11-24T06:49:51Z,2026-11-24T06:49:52Z,m",
        ),
    ),
    "otlp": ("otlp", lines({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "x"}, "spans": [SPAN]}]}]})),
    "openai": (
        "openai",
        lines({"timestamp": "2026-11-24T06:49:51Z", "request": CHAT, "response": {"usage": {"prompt_tokens": 3}}}),
    ),
    "azure 2023": ("azure", lines("TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44")),
    "burstgpt": (
        "burstgpt",
        lines(
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
            "5,1,1.5,ChatGPT,472,18,490,Conversation log",
        ),
    ),
    "mooncake": ("mooncake", lines({"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]})),
    "aiperf trace": ("aiperf", lines({"session_id": "s", "timestamp": 0, "input_length": 10, "output_length": 5})),
    "aiperf text": ("aiperf", lines({"timestamp": 0, "text_input": "hello", "output_length": 5})),
    "aiperf messages": ("aiperf", lines({"timestamp": 0, "messages": CHAT["messages"], "output_length": 5})),
    "aiperf turns": ("aiperf", lines({"session_id": "s", "turns": [{"text": "hello", "timestamp": 0}]})),
    "caddy": (
        "caddy",
        lines(
            {
                "level": "info",
                "ts": 1_795_521_356.4,
                "logger": "http.log.access.log0",
                "msg": "handled request",
                "request": {"method": "POST", "uri": "/v1/chat/completions"},
                "bytes_read": 141,
                "duration": 0.05,
                "size": 332,
                "status": 200,
            }
        ),
    ),
    "envoy json": (
        "envoy",
        lines(HTTP | {"start_time": "2026-11-24T11:55:39.082Z", "response_code": 200, "response_flags": "-"}),
    ),
    "envoy text": (
        "envoy",
        lines(
            '[2026-11-24T11:55:38.775Z] "POST /v1/chat/completions HTTP/1.1" 200 - 141 332 52 52 "-" "-" "7b" "h" "u"'
        ),
    ),
    "nginx json": (
        "nginx",
        lines(
            {
                "ts": "2026-11-24T06:49:51+00:00",
                "msec": 1795502991.22,
                "request_id": "3493",
                "method": "POST",
                "uri": "/v1/chat/completions",
                "status": 200,
                "request_length": 574,
                "bytes_sent": 3873,
                "request_time": 0.011,
                "request_body": json.dumps(CHAT),
            }
        ),
    ),
    "nginx combined": (
        "nginx",
        lines('::1 - - [24/Nov/2026:06:49:51 +0000] "POST /v1/chat/completions HTTP/1.1" 200 3873 "-" "app/1.4"'),
    ),
    "helicone json": (
        "helicone",
        lines(
            {
                "response_id": "b",
                "response_status": 200,
                "request_id": "a",
                "request_created_at": "2026-11-24T06:49:51.234Z",
                "request_body": CHAT,
                "request_model": "m",
                "request_path": "/v1/chat/completions",
                "request_user_id": "u",
                "request_properties": {"Helicone-Session-Id": "s"},
                "cache_reference_id": "0",
                "delay_ms": 5,
                "time_to_first_token": 2,
                "prompt_tokens": 26,
                "completion_tokens": 16,
                "model": "m",
            }
        ),
    ),
    "helicone csv": (
        "helicone",
        lines(
            "response_id,response_created_at,response_status,request_created_at,request_body,request_properties,"
            "request_user_id,model,prompt_tokens,completion_tokens,latency,cost_usd",
            '"b","2026-11-24T06:49:52Z","200","2026-11-24T06:49:51Z","","","u","m","26","16","1250","0.1"',
        ),
    ),
    "langfuse json": (
        "langfuse",
        lines(
            {
                "id": "o",
                "trace_id": "t",
                "type": "GENERATION",
                "start_time": "2026-11-24 06:49:51.234567",
                "end_time": None,
                "provided_model_name": "m",
                "model_parameters": {"stream": True, "max_tokens": 5},
                "completion_start_time": "2026-11-24 06:49:51.334567",
                "level": "DEFAULT",
                "session_id": "s",
                "user_id": "u",
                "usage_details": {"input": 26, "output": 16, "total": 42},
                "created_at": "2026-11-24 06:49:51.234567",
                "input": [{"role": "user", "content": "hi"}],
                "output": "",
            }
        ),
    ),
    "langfuse csv": (
        "langfuse",
        lines("id,traceId,type,startTime,model,promptTokens", "o,t,GENERATION,2026-11-24T06:49:51.234Z,m,26"),
    ),
    "langfuse trace": (
        "langfuse",
        lines(
            {
                "id": "t",
                "timestamp": "2026-11-24T06:49:51Z",
                "observations": [
                    {"id": "o", "traceId": "t", "type": "GENERATION", "startTime": "2026-11-24T06:49:51Z", "model": "m"}
                ],
            }
        ),
    ),
    "portkey": (
        "portkey",
        lines(
            {
                "id": "p",
                "trace_id": "t",
                "created_at": "2026-11-24T06:49:51Z",
                "ai_org": "openai",
                "ai_model": "m",
                "req_units": 26,
                "res_units": 16,
                "request_url": "https://h/v1/chat/completions",
                "request_method": "POST",
                "response_status_code": 200,
                "response_time": 5,
                "is_success": 1,
                "stream_mode": "TRUE",
                "cache_status": "HIT",
                "metadata": {"_user": "u", "session_id": "s"},
                "request": CHAT,
                "response": {},
            }
        ),
    ),
    "portkey stream": (
        "portkey_stream",
        lines(
            "event: log",
            "data: "
            + json.dumps(
                {
                    "method": "POST",
                    "status": 200,
                    "requestOptions": [
                        {
                            "providerOptions": {"rubeusURL": "chatComplete"},
                            "finalUntransformedRequest": {"body": CHAT},
                            "createdAt": "2026-11-24T06:48:31.774Z",
                            "cacheStatus": "HIT",
                            "executionTime": 5,
                            "response": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}},
                        }
                    ],
                }
            ),
        ),
    ),
}


def test_there_is_a_sample_of_every_format():
    assert {format for format, _ in SAMPLES.values()} == set(ADAPTERS)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_format_is_known_by_its_first_record_and_taken_by_no_other_adapter(sample):
    format, text = SAMPLES[sample]
    head = [line.encode() for line in text]
    assert choose("auto", head, sample).name == format
    others = {name for name, adapter in ADAPTERS.items() if adapter.recognises(head)} - {format}
    assert others <= {"openai"}  # which is asked last, for it takes many names


@pytest.mark.parametrize("noise", [b"", b"{oops", b"not a log", b"[1, 2]", b"\xff\xfe\x00", b"null", b'"text"', b"{}"])
def test_no_adapter_takes_noise_for_its_own_or_trips_over_it(noise):
    assert [name for name, adapter in ADAPTERS.items() if adapter.recognises([noise])] == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_log_of_one_record_is_captured_from_a_plain_and_from_a_packed_file(sample, pack, tmp_path):
    format, text = SAMPLES[sample]
    path = tmp_path / "log"
    path.write_bytes(pack("".join(line + "\n" for line in text).encode()))
    captured = capture([path])
    assert captured.workload.header.formats == (format,)
    assert (captured.ledger.read, captured.ledger.kept) == (1, 1)


@pytest.mark.parametrize("sample", SAMPLES)
def test_rubbish_after_a_good_record_is_a_drop_and_never_an_exception(sample):
    format, text = SAMPLES[sample]
    whole = [line.encode() for line in text]
    rubbish = [b"{", b'{"a":', b"null", b"[]", b'"', b",,,,", b"\xff\xfe", b"\x00", b"data: 1", whole[-1][:-9]]
    found = list(ADAPTERS[format].read(enumerate([*whole, *rubbish, whole[-1]], 1)))
    rows = [one for one in found if isinstance(one, Row)]
    assert rows[0].line <= len(whole)
    assert {one.reason for one in found if isinstance(one, Drop)}


VALUES = (None, True, 0, -1, 1.5, 1e300, -(10**30), "", "x", "-", "[1]", "{}", [], [1], [None], [{}], {}, {"a": [1]})


def changed(value: Any) -> Iterator[Any]:
    """The value with each of its parts in turn replaced by something that does not belong there."""
    yield from VALUES
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield {name: kept for name, kept in value.items() if name != key}
        yield from (value | {key: other} for other in changed(inner))
    for at, inner in enumerate(value) if isinstance(value, list) else ():
        yield from ([*value[:at], other, *value[at + 1 :]] for other in changed(inner))


@pytest.mark.parametrize("sample", [name for name, (_, text) in SAMPLES.items() if "{" in text[-1]])
def test_whatever_stands_in_a_field_is_a_row_or_a_drop_and_never_an_exception(sample):
    format, text = SAMPLES[sample]
    before, (start, brace, rest) = [line.encode() for line in text[:-1]], text[-1].partition("{")
    for other in changed(json.loads(brace + rest)):
        record = [*before, start.encode() + json.dumps(other).encode()]
        ADAPTERS[format].recognises(record)
        for found in ADAPTERS[format].read(enumerate(record, 1)):
            kept = found._replace(messages=None, prefix_blocks=None) if isinstance(found, Row) else found
            assert all(value is None or isinstance(value, int | str) for value in kept), (other, kept)


@pytest.mark.shared
@pytest.mark.skipif(not LOGS.is_dir(), reason="needs ../shared/data/gateway-logs beside the checkout")
def test_a_folder_of_mixed_real_logs_is_told_apart_file_by_file_and_its_ledger_closes():
    captured = capture([LOGS])
    assert captured.workload.header.formats == ("litellm", "nginx", "otlp", "portkey_stream")
    assert captured.skipped == ()
    assert captured.ledger.read == captured.ledger.kept + sum(captured.ledger.dropped.values()) == 1_152
    assert [reject.reason for reject in captured.rejects] == ["not JSON"]  # the stream was cut where it was saved
