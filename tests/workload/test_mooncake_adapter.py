"""Mooncake's traces. The samples here are literal lines of a published file; the first 4,000 requests of the
conversation trace are read too, and compared with a reader written apart, where they lie beside the checkout."""

import json
from pathlib import Path

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.mooncake import Mooncake

TRACE = Path(__file__).parents[3] / "shared" / "data" / "traces" / "mooncake_conversation_first4000.jsonl"
LINE = b'{"timestamp": 27000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 14, 15]}'


def read(*lines: bytes) -> list:
    return list(Mooncake().read(enumerate(lines, 1)))


def test_milliseconds_lengths_and_blocks_are_taken_as_they_stand():
    (row,) = read(LINE)
    assert (row.start_ns, row.input_tokens, row.output_tokens) == (27_000_000_000, 6758, 500)
    assert row.prefix_blocks == [0, 14, 15]
    assert Mooncake().block_tokens == 512


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"input_length": 1, "output_length": 1}', "no timestamp"),
        (b'{"timestamp": "soon", "input_length": 1, "output_length": 1}', "timestamp is not a time"),
        (b'{"timestamp": 0, "input_length": 1.5, "output_length": 1}', "input_length is not a whole number"),
        (b'{"timestamp": 0, "hash_ids": "0"}', "hash_ids is not a list of whole numbers"),
        (b'{"timestamp": 0, "hash_ids": [-1]}', "hash_ids is not a list of whole numbers"),
        (b"{oops", "not JSON"),
    ],
)
def test_a_broken_line_is_dropped_with_its_number_and_stops_nothing(line, reason):
    dropped, kept = read(line, LINE)
    assert (dropped.line, dropped.reason, dropped.broken) == (1, reason, True)
    assert kept.input_tokens == 6758


def test_a_line_with_a_session_is_not_taken_for_mooncakes_own(log):
    assert not Mooncake().recognises([b'{"timestamp": 0, "input_length": 1, "output_length": 1, "session_id": "s"}'])
    assert Mooncake().recognises([LINE])


def test_equal_numbers_of_two_files_are_two_blocks(log):
    lines = [{"timestamp": n, "input_length": 600, "output_length": 5, "hash_ids": [0, n]} for n in (1, 2)]
    captured = capture([log(*lines, name="a.jsonl"), log(*lines, name="b.jsonl")])
    blocks = [arrival.prefix_blocks for arrival in captured.workload.arrivals()]
    assert sorted(blocks) == [(0, 1), (0, 2), (3, 4), (3, 5)]
    assert captured.workload.header.block_tokens == 512


@pytest.mark.shared
@pytest.mark.skipif(not TRACE.is_file(), reason="needs ../shared/data/traces beside the checkout")
def test_the_real_trace_is_captured_right_to_the_row_with_its_blocks_and_its_step():
    captured = capture([TRACE])
    assert (captured.ledger.read, captured.ledger.kept, captured.rejects) == (4000, 4000, ())
    slow = [json.loads(line) for line in TRACE.read_text().splitlines()]
    first = min(line["timestamp"] for line in slow)
    expected = sorted(
        ((r["timestamp"] - first) * 1_000_000, r["input_length"], r["output_length"], tuple(r["hash_ids"]))
        for r in slow
    )
    got = sorted((a.offset_ns, a.input_tokens, a.output_tokens, a.prefix_blocks) for a in captured.workload.arrivals())
    assert got == expected
    header = captured.workload.header
    assert (header.resolution_ns, header.block_tokens, header.privacy) == (3_000_000_000, 512, "counts")
