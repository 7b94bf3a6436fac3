"""What a person points at: folders of mixed files, packed files, tables."""

import gzip
import hashlib
import json
from datetime import UTC, datetime

import polars as pl
import pytest
import zstandard

from storage.errors import NothingMeasured, UsageError
from tasks.workload import trace
from tasks.workload.capture import capture

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2026-11-24 06:49:51.5000000,40,10\n"
SPAN = {
    "traceId": "t",
    "spanId": "s",
    "startTimeUnixNano": "1795502991250000000",
    "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "m"}}],
}


def test_a_folder_of_mixed_logs_is_one_workload_in_time_and_what_is_no_log_is_left_aside_and_said(
    log, payload, tmp_path
):
    log(payload(0.0), payload(1.0), name="a.jsonl")
    (tmp_path / "b.csv").write_text(AZURE)
    (tmp_path / "c.json.gz").write_bytes(
        gzip.compress(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}).encode())
    )
    (tmp_path / "notes.md").write_text("# What we did\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (tmp_path / ".hidden").write_text("not looked at")
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "below").mkdir()
    captured = capture([tmp_path])
    assert (captured.workload.frame["offset_ns"] / 1e9).to_list() == [0.0, 0.25, 0.5, 1.0]
    assert captured.workload.header.formats == ("azure", "litellm", "otlp")
    assert [skipped.path.name for skipped in captured.skipped] == ["notes.md", "picture.png"]
    assert captured.notes[0].startswith(f"left aside: {tmp_path / 'notes.md'}: line 1 holds text that is not JSON")
    assert captured.ledger.in_words() == "4 rows read = 4 kept + 0 dropped"


def test_where_nothing_could_be_read_the_first_file_says_why(tmp_path):
    (tmp_path / "a.md").write_text("# A")
    (tmp_path / "b.md").write_text("# B")
    with pytest.raises(
        UsageError, match=r"a\.md: line 1 holds text that is not JSON.*; nor could 1 more files be read"
    ):
        capture([tmp_path])


def test_a_workload_among_the_logs_is_left_aside(log, payload, tmp_path):
    workload = capture([log(payload(0.0))]).workload
    trace.write(workload, tmp_path / "w.parquet")
    assert "is a workload already" in capture([tmp_path]).notes[0]
    with pytest.raises(UsageError, match=r"w\.parquet is a workload already, it needs no capture"):
        capture([tmp_path / "w.parquet"])


def packed_with_zstd(text: bytes, frames: int = 1) -> bytes:
    cut = len(text) // frames + 1
    return b"".join(zstandard.compress(text[n : n + cut]) for n in range(0, len(text), cut))


@pytest.mark.parametrize("frames", [1, 3])
def test_a_zstd_file_is_unpacked_frame_after_frame(payload, tmp_path, frames):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(packed_with_zstd(b"".join(json.dumps(payload(n)).encode() + b"\n" for n in range(300)), frames))
    captured = capture([path])
    assert captured.ledger.in_words() == "300 rows read = 300 kept + 0 dropped"
    assert captured.workload.header.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:-400] + b"\xff" * 400])
def test_a_damaged_zstd_file_keeps_what_could_be_read_and_says_so(payload, tmp_path, damage):
    text = b"".join(json.dumps(payload(n)).encode() + b"\n" for n in range(3000))
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(damage(packed_with_zstd(text, 10)))
    captured = capture([path])
    assert 0 < captured.ledger.kept < 3000
    assert captured.rejects[-1].reason == "the packed file is damaged from here on"


def test_a_packed_file_that_is_damaged_from_its_beginning_is_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd\xff\xff\xff")
    (tmp_path / "b.gz").write_bytes(b"\x1f\x8b\xff\xff\xff")
    with pytest.raises(UsageError, match=r"a\.zst is packed, and damaged from its beginning; nor could 1 more"):
        capture([tmp_path])


def test_any_format_may_come_as_parquet(tmp_path):
    spent = {"request_id": "r", "call_type": "acompletion", "spend": 0.1, "model_group": "m", "prompt_tokens": 4}
    pl.DataFrame([spent | {"startTime": datetime(2026, 11, 24, 6, 49, 51, 500_000, UTC)}]).write_parquet(
        tmp_path / "spend.parquet"
    )
    captured = capture([tmp_path / "spend.parquet"])
    assert captured.workload.header.formats == ("litellm_spend_logs",)
    assert captured.workload.header.started_at == "2026-11-24T06:49:51.500000+00:00"


def test_a_damaged_parquet_file_is_left_aside(log, payload, tmp_path):
    log(payload(0.0), name="a.jsonl")
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + b"\x00" * 50 + b"PAR1")
    assert "b.parquet is a damaged Parquet file" in capture([tmp_path]).notes[0]


def test_a_trace_that_counts_from_its_beginning_has_no_date_and_is_not_merged_with_one_that_has(log, payload, tmp_path):
    trace_file = log({"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [0]}, name="mooncake.jsonl")
    assert capture([trace_file]).workload.header.started_at is None
    with pytest.raises(
        UsageError, match=r"mooncake\.jsonl counts time from its beginning and .*gateway\.jsonl has dates"
    ):
        capture([log(payload()), trace_file])


def test_arrivals_with_coarse_stamps_are_spread_out_if_asked(log, payload):
    path = log(*(payload(float(n // 4), call=f"c{n}") for n in range(80)))
    plain, spread, again = capture([path]), capture([path], spread_seed=7), capture([path], spread_seed=7)
    assert "arrivals are stamped in steps of 1 s" in plain.notes[0]
    assert "they are spread out within them, seed 7" in spread.notes[0]
    assert spread.workload.header.derived == ("spread within 1 s, seed 7",)
    assert spread.workload.id == again.workload.id != plain.workload.id
    assert spread.workload.frame["offset_ns"].n_unique() == 80
    assert spread.workload.frame["duration_ns"].unique().to_list() == [500_000_000]


def test_rows_out_of_order_are_said(log, payload):
    assert capture([log(payload(1.0), payload(0.0))]).notes == (
        "1 row stood out of order in the file; all are sorted in time",
        "arrivals of litellm: startTime (seconds since the epoch, UTC)",
    )


def test_a_folder_without_a_file_and_a_log_without_a_row_are_told_apart(tmp_path):
    with pytest.raises(UsageError, match="no log in the folder"):
        capture([tmp_path])
    (tmp_path / "a.log").write_text("")
    with pytest.raises(NothingMeasured, match="empty, there is nothing to capture"):
        capture([tmp_path])


def test_one_stamp_of_another_clock_is_a_broken_row_and_stops_nothing(log, payload):
    captured = capture([log(payload(0.0), payload(1.0, startTime=4.5), payload(2.0))])
    assert captured.ledger.kept == 2
    assert [(r.line, r.reason) for r in captured.rejects] == [(2, "a time of another clock than the rest of its file")]
