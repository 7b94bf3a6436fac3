"""The traps of LiteLLM's payload, one test each."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.workload.formats.adapter import Drop, Row
from tasks.workload.formats.litellm import LiteLLM


def read(*records: Any) -> list[Row | Drop]:
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    return list(LiteLLM().read(enumerate(lines, 1)))


def row(record: Any) -> Row:
    (only,) = read(record)
    assert isinstance(only, Row), only
    return only


def reason(record: Any) -> str:
    (only,) = read(record)
    assert isinstance(only, Drop), only
    return only.reason


def test_a_streamed_success_is_read_field_by_field(payload):
    assert row(payload()) == Row(
        line=1,
        call_id="call-0.0",
        start_ns=1_795_502_991_000_000_000,
        end_ns=1_795_502_991_500_000_000,
        first_token_ns=1_795_502_991_125_000_000,
        model="asked",
        input_tokens=26,
        output_tokens=16,
        max_output_tokens=256,
        stream=True,
        session="s-1",
        user="u-017",
        failure=None,
        cache_hit=None,
        messages=[{"role": "user", "content": "hi"}],
    )


def test_a_start_is_exact_to_a_microsecond(payload):
    assert row(payload(startTime=1795502991.231255)).start_ns == 1_795_502_991_231_255_000


def test_the_routed_model_counts_only_where_no_group_was_asked(payload):
    assert row(payload(model_group=None)).model == "openai/routed"
    assert reason(payload(model_group="", model=None)) == "no model"


def test_stream_is_taken_from_the_parameters_because_the_top_level_is_null_for_failures(failure):
    assert row(failure(model_parameters={"stream": True})).stream is True
    assert row(failure(model_parameters={})).stream is None


def test_an_answer_that_was_no_stream_has_no_first_token(payload):
    plain = payload(stream=None, model_parameters={"stream": False}, completionStartTime=payload()["endTime"])
    assert row(plain).first_token_ns is None


def test_a_stream_that_ended_before_a_token_has_no_first_token(failure):
    assert row(failure(model_parameters={"stream": True})).first_token_ns is None


def test_a_failure_keeps_its_code_and_has_no_output(failure):
    refused = row(failure())
    assert (refused.failure, refused.input_tokens, refused.output_tokens) == ("429", None, None)


def test_a_cut_stream_without_a_code_keeps_the_class_of_its_error(failure):
    cut = row(failure(error_information={"error_code": "", "error_class": "ReadError"}, completion_tokens=9))
    assert (cut.failure, cut.output_tokens) == ("ReadError", None)


def test_an_error_code_that_is_prose_is_not_kept(failure):
    assert row(failure(error_information={"error_code": "my key is secret", "error_class": None})).failure == "failure"


@pytest.mark.parametrize(
    ("parameters", "cap"),
    [
        ({"max_tokens": 20}, 20),
        ({"max_completion_tokens": 30, "max_tokens": 20}, 30),
        ({"max_tokens": None}, None),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": -1}, None),
        ({}, None),
    ],
)
def test_the_cap_is_what_the_client_set_under_either_name(payload, parameters, cap):
    assert row(payload(model_parameters=parameters)).max_output_tokens == cap


def test_a_session_is_only_what_the_client_named(payload):
    made_up = payload(trace_id="t-9", session_id="t-9", metadata={"requester_metadata": {"trace_id": "t-9"}})
    assert row(made_up).session is None


def test_the_key_stands_for_the_user_where_no_end_user_was_named(payload):
    assert row(payload(end_user=None)).user == "abc"
    assert row(payload(end_user=None, metadata=None)).user is None


def test_no_prompt_tokens_means_unknown_but_no_answer_tokens_is_an_empty_answer(payload):
    empty = row(payload(prompt_tokens=0, completion_tokens=0))
    assert (empty.input_tokens, empty.output_tokens) == (None, 0)


@pytest.mark.parametrize("call_type", ["aembedding", "atext_completion", "aresponses"])
def test_calls_other_than_chat_are_dropped_by_their_name(payload, call_type):
    assert read(payload(call_type=call_type)) == [Drop(1, f"call type {call_type}", broken=False)]


def test_a_strange_call_type_is_not_quoted(payload):
    assert reason(payload(call_type="what is this?")) == "call type unreadable"


def test_the_gateways_own_health_checks_are_no_traffic(payload):
    assert reason(payload(request_tags=["litellm-internal-health-check"])) == "the gateway's own health check"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"startTime": None}, "no startTime"),
        ({"startTime": "2026-11-24T06:49:51Z"}, "startTime is not a time in seconds since the epoch"),
        ({"startTime": 1795502991231}, "startTime is not a time in seconds since the epoch"),
        ({"startTime": -5}, "startTime is not a time in seconds since the epoch"),
        ({"startTime": True}, "startTime is not a time in seconds since the epoch"),
        ({"prompt_tokens": "twelve"}, "prompt_tokens is not a whole number"),
        ({"prompt_tokens": 1.5}, "prompt_tokens is not a whole number"),
        ({"completion_tokens": -1}, "completion_tokens is out of range"),
        ({"status": None}, "status is neither success nor failure"),
        ({"call_type": None}, "no call_type"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(payload, changes, said):
    assert read(payload(**changes)) == [Drop(1, said, broken=True)]


def test_a_line_that_is_no_json_is_dropped_with_its_number(payload):
    assert read(payload(), b'{"startTime": 17', b"", b"[1]", b"[]", b"7")[1:] == [
        Drop(2, "not JSON", broken=True),
        Drop(3, "blank line", broken=False),
        Drop(4, "not a JSON object", broken=True),
        Drop(5, "an empty list", broken=True),
        Drop(6, "not a JSON object", broken=True),
    ]


def test_a_batch_and_a_callbacks_arguments_are_payloads_too(payload):
    batch = [payload(0.0), payload(1.0)]
    assert [r.call_id for r in read(batch, {"standard_logging_object": payload(2.0)})] == [
        "call-0.0",
        "call-1.0",
        "call-2.0",
    ]


def test_an_end_before_the_start_is_no_end(payload):
    assert row(payload(endTime=1.0)).end_ns is None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_whatever_stands_in_a_field_every_record_gives_one_row_or_drop(data, payload):
    keys = data.draw(st.lists(st.sampled_from(sorted(payload())), min_size=1, max_size=4))
    record = payload(**{key: data.draw(ANY) for key in keys})
    (only,) = read(json.dumps(record).encode("utf-8", "surrogatepass"))
    assert only.line == 1


@given(line=st.binary())
def test_whatever_bytes_stand_in_a_line_it_is_read_or_dropped(line):
    assert {record.line for record in read(line)} == {1}
