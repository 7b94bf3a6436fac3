"""Azure's traces. The samples here are literal rows of the published files; the whole 2023 files are read too, and
compared with a reader written apart, where they lie beside the checkout."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tasks.workload.capture import capture
from tasks.workload.formats.azure import Azure

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"
HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens"


def read(*lines: bytes) -> list:
    return list(Azure().read(enumerate([HEADER, *lines], 1)))


def test_both_years_are_read_to_the_last_digit():
    old, new = read(b"2023-11-16 18:15:46.6805901,374,44", b"2024-05-10 00:00:00.009930+00:00,2162,5")
    assert (old.start_ns % 10**9, old.input_tokens, old.output_tokens) == (680_590_100, 374, 44)
    assert (new.start_ns, new.input_tokens, new.output_tokens) == (1_715_299_200_009_930_000, 2162, 5)
    assert (old.line, new.line) == (2, 3)
    assert (old.model, old.stream, old.end_ns) == ("unknown", None, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"yesterday,374,44", "TIMESTAMP is not a time"),
        (b",374,44", "no TIMESTAMP"),
        (b"2023-11-16 18:15:46.6,many,44", "ContextTokens is not a whole number"),
        (b"2023-11-16 18:15:46.6,374", "2 cells where the header names 3 columns"),
    ],
)
def test_a_broken_row_is_dropped_with_its_line_and_stops_nothing(line, reason):
    dropped, kept = read(line, b"2023-11-16 18:15:46.6805900,374,44")
    assert (dropped.line, dropped.reason, dropped.broken) == (2, reason, True)
    assert kept.input_tokens == 374


@pytest.mark.shared
@pytest.mark.skipif(not TRACES.is_dir(), reason="needs ../shared/data/traces beside the checkout")
@pytest.mark.parametrize(("name", "rows"), [("code", 8_819), ("conv", 19_366)])
def test_a_real_trace_is_captured_right_to_the_row(name, rows):
    path = TRACES / f"AzureLLMInferenceTrace_{name}.csv"
    captured = capture([path])
    assert (captured.ledger.read, captured.ledger.kept, captured.rejects) == (rows, rows, ())
    with path.open() as file:
        slow = []
        for row in csv.DictReader(file):
            whole, _, ticks = row["TIMESTAMP"].partition(".")  # a tick is 100 ns
            since = (datetime.fromisoformat(whole) - datetime.fromisoformat("2023-11-16")) // timedelta(seconds=1)
            slow.append((since * 10**9 + int(ticks) * 100, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    slow.sort()
    got = [(a.offset_ns, a.input_tokens, a.output_tokens) for a in captured.workload.arrivals()]
    assert got == [(start - slow[0][0], put, out) for start, put, out in slow]
    assert (captured.workload.header.formats, captured.workload.header.tokens) == (("azure",), "exact")
