"""BurstGPT's traces. The samples are made from the columns its README names, those of the first release and those that
newer files insert."""

import pytest

from tasks.workload.formats.burstgpt import BurstGPT

OLD = b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
NEW = b"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"


def read(*lines: bytes) -> list:
    return list(BurstGPT().read(enumerate(lines, 1)))


def test_columns_are_found_by_name_in_old_and_new_files():
    (old,) = read(OLD, b"45,ChatGPT,472,18,490,Conversation log")
    (new,) = read(NEW, b"45.25,1093,1.5,GPT-4,472,18,490,API log")
    assert (old.start_ns, old.model, old.input_tokens, old.output_tokens) == (45 * 10**9, "ChatGPT", 472, 18)
    assert (old.session, old.end_ns, old.failure) == (None, None, None)
    assert (new.start_ns, new.model, new.input_tokens, new.output_tokens) == (45_250_000_000, "GPT-4", 472, 18)
    assert (new.session, new.end_ns) == ("1093", 46_750_000_000)


def test_a_call_without_response_tokens_failed_and_is_an_arrival_all_the_same():
    (row,) = read(OLD, b"5,GPT-4,100,0,100,API log")
    assert (row.input_tokens, row.output_tokens, row.failure) == (100, None, "no_response")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",ChatGPT,472,18,490,API log", "no Timestamp"),
        (b"5,,472,18,490,API log", "no Model"),
        (b"5,ChatGPT,-3,18,490,API log", "Request tokens is not a whole number"),
    ],
)
def test_a_broken_row_is_dropped_with_its_line_and_stops_nothing(line, reason):
    dropped, kept = read(OLD, line, b"45,ChatGPT,472,18,490,API log")
    assert (dropped.line, dropped.reason, dropped.broken) == (2, reason, True)
    assert kept.start_ns == 45 * 10**9


@pytest.mark.parametrize("header", [OLD, NEW])
def test_the_header_alone_tells_the_format(header):
    assert BurstGPT().recognises([b"", header])
    assert not BurstGPT().recognises([b"Timestamp,Model,Request,Response"])
