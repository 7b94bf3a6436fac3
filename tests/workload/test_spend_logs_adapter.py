"""LiteLLM_SpendLogs. There is no real export among the samples: rows are made from the table's documented columns
(the proxy's schema.prisma) and what LiteLLM 1.106 writes into them."""

import csv
import io
import json
from typing import Any

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.adapter import Drop, Row
from tasks.workload.formats.detect import choose
from tasks.workload.formats.spend_logs import SpendLogs

START_NS = 1_795_502_991_231_000_000


def spent(**changes: Any) -> dict[str, Any]:
    return {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": 0.00047,
        "total_tokens": 55,
        "prompt_tokens": 10,
        "completion_tokens": 45,
        "startTime": "2026-11-24T06:49:51.231Z",
        "endTime": "2026-11-24T06:49:52.000Z",
        "completionStartTime": "2026-11-24T06:49:51.331Z",
        "model": "openai/routed",
        "model_id": "1c10",
        "model_group": "asked",
        "custom_llm_provider": "openai",
        "api_base": "http://127.0.0.1:18090/v1",
        "user": "default_user_id",
        "metadata": {"status": "success", "user_api_key_alias": None},
        "cache_hit": "False",
        "cache_key": "",
        "request_tags": ["web"],
        "team_id": "",
        "end_user": "u-017",
        "requester_ip_address": "127.0.0.1",
        "messages": {},
        "response": {},
        "session_id": "s-1",
        "status": "success",
    } | changes


def read(*records: dict[str, Any]) -> list[Row | Drop]:
    return list(SpendLogs().read(enumerate((json.dumps(r).encode() for r in records), 1)))


def row(record: dict[str, Any]) -> Row:
    (only,) = read(record)
    assert isinstance(only, Row), only
    return only


def as_csv(*records: dict[str, Any]) -> list[bytes]:
    """As psql's \\copy writes it: objects as JSON text, null as nothing, `t` and `f`, times without a zone."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        cells = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in record.items()}
        times = {k: v.replace("T", " ").removesuffix("Z") for k, v in cells.items() if k.endswith("Time")}
        writer.writerow(cells | times)
    return out.getvalue().encode().splitlines()


EXPECTED = Row(
    line=1,
    call_id="chatcmpl-1",
    start_ns=START_NS,
    end_ns=START_NS + 769_000_000,
    first_token_ns=START_NS + 100_000_000,
    model="asked",
    input_tokens=10,
    output_tokens=45,
    max_output_tokens=None,
    stream=True,
    session="s-1",
    user="u-017",
    failure=None,
    cache_hit=False,
    messages={},
)


def test_a_row_of_json_is_read_field_by_field():
    assert row(spent()) == EXPECTED


def test_a_row_of_csv_is_the_same_and_its_times_without_a_zone_are_utc():
    assert list(SpendLogs().read(enumerate(as_csv(spent()), 1))) == [EXPECTED._replace(line=2)]


def test_both_are_known_by_their_content():
    assert choose("auto", as_csv(spent()), "x").name == "litellm_spend_logs"
    assert choose("auto", [json.dumps(spent()).encode()], "x").name == "litellm_spend_logs"
    document = json.dumps([spent()], indent=2).encode().splitlines()
    assert choose("auto", document, "x").name == "litellm_spend_logs"


def test_an_answer_whose_first_token_is_its_end_was_no_stream():
    plain = row(spent(completionStartTime="2026-11-24T06:49:52.000Z"))
    assert (plain.stream, plain.first_token_ns) == (False, None)
    assert row(spent(completionStartTime=None)).stream is None


def test_stored_prompts_tell_stream_cap_and_messages():
    asked = {"model": "asked", "stream": False, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
    told = row(spent(proxy_server_request=json.dumps(asked)))
    assert (told.stream, told.max_output_tokens, told.messages) == (False, 64, asked["messages"])
    assert row(spent(proxy_server_request={"body": asked})).max_output_tokens == 64


def test_a_failure_keeps_its_code_and_has_no_output():
    error = {"status": "failure", "error_information": {"error_code": "429", "error_class": "RateLimitError"}}
    failed = row(spent(status="failure", metadata=json.dumps(error), prompt_tokens=0, completion_tokens=0))
    assert (failed.failure, failed.input_tokens, failed.output_tokens, failed.stream) == ("429", None, None, None)
    assert row(spent(status=None, metadata=error)).failure == "429"


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"call_type": "aembedding"}, Drop(1, "call type aembedding", broken=False)),
        ({"call_type": ""}, Drop(1, "no call_type", broken=True)),
        ({"startTime": None}, Drop(1, "no startTime", broken=True)),
        ({"startTime": "yesterday"}, Drop(1, "startTime is not a time", broken=True)),
        ({"model": "", "model_group": ""}, Drop(1, "no model", broken=True)),
        (
            {"request_tags": '["litellm-internal-health-check"]'},
            Drop(1, "the gateway's own health check", broken=False),
        ),
    ],
)
def test_what_is_no_chat_of_a_client_is_dropped_by_reason(changes, dropped):
    assert read(spent(**changes)) == [dropped]


def test_a_log_of_it_closes_its_ledger(tmp_path):
    lines = as_csv(spent(), spent(request_id="2", call_type="aembedding"), spent(request_id="3"))
    path = tmp_path / "LiteLLM_SpendLogs.csv"
    path.write_bytes(b"\n".join([*lines[:2], b'"broken', *lines[2:]]))
    captured = capture([path])
    assert captured.ledger.in_words() == (
        "4 rows read = 2 kept + 2 dropped (1 call type aembedding, 1 quotes that make no sense)"
    )
    assert [(reject.line, reject.reason) for reject in captured.rejects] == [(3, "quotes that make no sense")]
