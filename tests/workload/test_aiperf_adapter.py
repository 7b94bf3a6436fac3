"""AIPerf's input files. The samples are made from the fields of its trace, single-turn and multi-turn formats."""

import json
from typing import Any

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.aiperf import AIPerf


def read(*lines: dict[str, Any] | str) -> list:
    raw = [(line if isinstance(line, str) else json.dumps(line)).encode() for line in lines]
    return list(AIPerf().read(enumerate(raw, 1)))


def test_a_trace_line_is_read_field_by_field():
    (row,) = read(
        {"session_id": "s", "timestamp": 105.5, "input_length": 1800, "output_length": 26, "hash_ids": [0, 3]}
    )
    assert (row.start_ns, row.input_tokens, row.output_tokens) == (105_500_000, 1800, 26)
    assert (row.session, row.prefix_blocks, row.approximate) == ("s", [0, 3], False)


def test_hashes_of_any_size_become_small_numbers(log):
    lines = [{"session_id": "s", "timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [2**63, 7]}]
    (arrival,) = capture([log(*lines)]).workload.arrivals()
    assert (arrival.prefix_blocks, arrival.session) == ((0, 1), None)


def test_a_delay_counts_from_the_turn_before_of_the_same_session():
    rows = read(
        {"session_id": "a", "timestamp": 1000, "input_length": 10, "output_length": 5},
        {"session_id": "b", "timestamp": 1500, "input_length": 10, "output_length": 5},
        {"session_id": "a", "delay": 200, "input_length": 10, "output_length": 5},
        {"session_id": "a", "delay": 300.5, "input_length": 10, "output_length": 5},
        {"session_id": "b", "timestamp": 9000, "input_length": 10, "output_length": 5},
    )
    assert [row.start_ns // 10**3 for row in rows] == [1_000_000, 1_500_000, 1_200_000, 1_500_500, 9_000_000]


def test_a_session_carries_its_turns_and_answers_along():
    rows = read(
        {"session_id": "a", "timestamp": 0, "input_length": 100, "output_length": 10},
        {"session_id": "a", "delay": 1, "input_length": 20, "output_length": 5},
        {"session_id": "a", "delay": 1, "input_length": 30},
        {"session_id": "a", "delay": 1, "input_length": 40},
    )
    assert [row.input_tokens for row in rows] == [100, 130, 165, None]


def test_whole_messages_carry_nothing_along_and_new_ones_do():
    user = [{"role": "user", "content": "x" * 40}]
    rows = read(
        {"session_id": "a", "timestamp": 0, "messages": user, "output_length": 10},
        {"session_id": "a", "timestamp": 9, "messages": user, "output_length": 10},
        {"session_id": "a", "timestamp": 19, "messages": user, "message_mode": "delta"},
    )
    assert [row.input_tokens for row in rows] == [14, 14, 38]
    assert all(row.approximate for row in rows)


def test_a_conversation_gives_a_row_for_each_of_its_turns():
    first, second = read(
        {
            "session_id": "c",
            "turns": [
                {"text": "x" * 40, "timestamp": 50, "output_length": 6},
                {"texts": ["y" * 20, "z" * 19], "delay": 100},
            ],
        }
    )
    assert (first.line, first.start_ns, first.input_tokens) == (1, 50_000_000, 14)
    assert (second.line, second.start_ns, second.input_tokens, second.session) == (1, 150_000_000, 34, "c")


def test_a_payload_tells_model_stream_and_cap():
    body = {"model": "m", "stream": True, "max_tokens": 7, "messages": [{"role": "user", "content": "x" * 40}]}
    (row,) = read({"payload": body, "timestamp": 0})
    assert (row.model, row.stream, row.max_output_tokens, row.input_tokens) == ("m", True, 7, 14)


def test_a_line_that_says_nothing_of_time_is_dropped_by_reason_and_is_no_reject():
    (dropped,) = read({"text_input": "hello", "output_length": 4})
    assert (dropped.reason, dropped.broken) == ("neither a timestamp nor a turn before", False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"timestamp": 0}, "nothing is asked: no input_length, text_input, messages, payload or text"),
        ({"timestamp": "soon", "input_length": 1}, "timestamp is not a time"),
        ({"timestamp": 0, "input_length": -1}, "input_length is out of range"),
        ({"timestamp": 0, "input_length": 1, "hash_ids": [1.5]}, "hash_ids is not a list of whole numbers"),
        ("{oops", "not JSON"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(broken, reason):
    dropped, kept = read(broken, {"timestamp": 1, "input_length": 3})
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.input_tokens == 3
