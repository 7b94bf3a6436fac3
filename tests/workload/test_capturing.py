"""From files to a workload: merged in time, one arrival a call, every row accounted for."""

import gzip
import hashlib
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import GatebenchError, NothingMeasured, StorageError, UsageError
from tasks.workload.capture import capture
from tasks.workload.ledger import Ledger, Reject, write_rejects

SALT = b"sixteen bytes at"


def offsets(captured):
    return (captured.workload.frame["offset_ns"] / 1e9).to_list()


def test_lines_out_of_order_are_sorted_and_count_from_the_first(log, payload):
    assert offsets(capture([log(payload(3.0), payload(1.0), payload(2.5))])) == [0.0, 1.5, 2.0]


def test_several_logs_are_merged_in_time_whatever_order_they_are_named_in(log, payload):
    a = log(payload(0.0), payload(2.0), name="a.jsonl")
    b = log(payload(1.0), payload(3.0), name="b.jsonl")
    one, other = capture([a, b]), capture([b, a])
    assert offsets(one) == [0.0, 1.0, 2.0, 3.0]
    assert one.workload.id == other.workload.id
    assert one.workload.header.sources == other.workload.header.sources


def test_a_folder_and_a_glob_and_a_gzip_mean_their_logs_each_once(log, payload, tmp_path):
    log(payload(0.0), name="a.jsonl")
    log("not a log", name="notes.md")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(payload(1.0)).encode()))
    assert offsets(capture([tmp_path])) == [0.0, 1.0]
    assert capture([tmp_path]).workload.header.name == tmp_path.name
    assert offsets(capture([tmp_path / "*.jsonl*", tmp_path / "a.jsonl"])) == [0.0, 1.0]


def test_the_header_says_where_the_workload_comes_from(log, payload):
    path = log(*(payload(n * 0.25) for n in range(12)), name="prod.jsonl")
    header = capture([path]).workload.header
    assert header.name == "prod"
    assert header.formats == ("litellm",)
    assert header.arrival_basis == "startTime (seconds since the epoch, UTC)"
    assert header.started_at == "2026-11-24T06:49:51+00:00"
    assert (header.span_ns, header.resolution_ns) == (2_750_000_000, 250_000_000)
    assert (header.privacy, header.salt_id) == ("counts", None)
    (source,) = header.sources
    assert source.name == "prod.jsonl"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.size == path.stat().st_size


def test_a_broken_line_is_dropped_with_its_number_and_never_its_content(log, payload):
    path = log(payload(0.0), '{"api_key": "hunter2', "", payload(1.0), payload(2.0, call_type="aembedding"))
    captured = capture([path])
    assert captured.ledger == Ledger(5, 2, {"blank line": 1, "call type aembedding": 1, "not JSON": 1})
    assert captured.rejects == (Reject(str(path), 2, "not JSON"),)
    assert captured.ledger == captured.workload.header.ledger


def test_the_ledger_is_said_in_words():
    ledger = Ledger(1300, 1296, {"not JSON": 1, "duplicate call id": 3})
    assert ledger.in_words() == "1,300 rows read = 1,296 kept + 4 dropped (3 duplicate call id, 1 not JSON)"


def test_a_ledger_that_does_not_close_fails():
    with pytest.raises(GatebenchError, match="5 rows read, 3 kept, 1 dropped, 1 unaccounted for"):
        Ledger(5, 3, {"not JSON": 1})


def test_a_fallback_is_one_arrival_of_the_group_that_was_asked(log, payload, failure):
    """The success may carry the earlier stamp: what was asked is what failed first."""
    fallback = payload(1.0, call="c", model_group="backup", prompt_tokens=30, completion_tokens=7)
    refused = failure(1.25, call="c", model_group="primary", code="503", model_parameters={"stream": True})
    captured = capture([log(fallback, payload(0.0), refused)])
    (arrival,) = [a for a in captured.workload.arrivals() if a.offset_ns]
    assert (arrival.offset_ns, arrival.model, arrival.failure) == (1_000_000_000, "primary", None)
    assert (arrival.input_tokens, arrival.output_tokens, arrival.duration_ns) == (30, 7, 500_000_000)
    assert captured.ledger.dropped == {"duplicate call id": 1}


def test_a_retry_keeps_the_earliest_start_and_the_tokens_of_the_success(log, payload, failure):
    captured = capture([log(failure(0.0, call="c", model_parameters={}), payload(2.0, call="c"))])
    (arrival,) = captured.workload.arrivals()
    assert (arrival.output_tokens, arrival.duration_ns, arrival.first_token_ns) == (16, 2_500_000_000, 2_125_000_000)
    assert (arrival.stream, arrival.max_output_tokens, arrival.failure) == (True, 256, None)


def test_retries_that_all_fail_are_one_arrival_with_the_last_error(log, failure):
    captured = capture([log(failure(1.0, "500", call="c"), failure(0.0, "429", call="c"))])
    (arrival,) = captured.workload.arrivals()
    assert (arrival.failure, arrival.output_tokens, arrival.duration_ns) == ("500", None, 1_050_000_000)


def test_a_log_named_twice_under_two_names_counts_its_calls_once(log, payload):
    lines = [payload(0.0), payload(1.0)]
    captured = capture([log(*lines, name="a.jsonl"), log(*lines, name="b.jsonl")])
    assert captured.ledger == Ledger(4, 2, {"duplicate call id": 2})


def test_rows_without_a_call_id_are_never_merged(log, payload):
    assert len(capture([log(payload(0.0, call=None), payload(0.0, call=None))]).workload) == 2


def test_failures_are_kept_as_arrivals_and_an_unknown_stream_flag_is_false(log, failure):
    (arrival,) = capture([log(failure(0.0, model_parameters={}))]).workload.arrivals()
    assert (arrival.failure, arrival.stream, arrival.output_tokens) == ("429", False, None)


def test_a_source_that_is_not_there_is_a_usage_error(tmp_path):
    for source in (tmp_path / "no.jsonl", tmp_path / "*.jsonl", tmp_path):
        with pytest.raises(UsageError, match=r"no (such )?log"):
            capture([source])
    with pytest.raises(UsageError, match="no log to read"):
        capture([])


def test_an_empty_log_is_nothing_measured(log):
    with pytest.raises(NothingMeasured, match="empty, there is nothing to capture"):
        capture([log()])
    with pytest.raises(NothingMeasured, match="empty, there is nothing to capture"):
        capture([log()], format="litellm")


def test_an_empty_log_among_others_is_fine(log, payload):
    captured = capture([log(name="a.jsonl"), log(payload(), name="b.jsonl")])
    assert (len(captured.workload), len(captured.workload.header.sources)) == (1, 2)


def test_a_log_without_a_chat_request_is_nothing_measured_and_says_why(log, payload):
    with pytest.raises(NothingMeasured, match=r"no chat request in it: 1 row read = 0 kept \+ 1 dropped"):
        capture([log(payload(call_type="aembedding"))])
    with pytest.raises(NothingMeasured, match="1 call type aembedding, 1 not JSON"):
        capture([log(payload(call_type="aembedding"), "{")])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(payload, tmp_path):
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(payload(n)).encode() for n in range(2)))
    assert capture([path]).ledger == Ledger(2, 2)


def test_the_wrong_format_by_name_is_a_usage_error_with_the_first_line_that_failed(log):
    with pytest.raises(UsageError, match=r"no row can be read as litellm; .*gateway.jsonl: line 1: no call_type"):
        capture([log({"level": "info"}, {"level": "warn"})], format="litellm")


def test_a_damaged_gzip_keeps_what_could_be_read_and_says_so(payload, tmp_path):
    whole = gzip.compress(b"".join(json.dumps(payload(n)).encode() + b"\n" for n in range(3000)), mtime=0)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    captured = capture([path])
    assert 0 < captured.ledger.kept < 3000
    assert captured.rejects[-1].reason == "the packed file is damaged from here on"
    assert captured.workload.header.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("privacy", ["structure", "text"])
def test_levels_that_keep_users_need_a_salt(log, payload, privacy):
    for salt in (None, b"", b"short"):
        with pytest.raises(UsageError, match="GATEBENCH_SALT"):
            capture([log(payload())], privacy=privacy, salt=salt)


def test_an_unknown_privacy_level_is_refused(log, payload):
    with pytest.raises(UsageError, match="choose from counts, structure, text"):
        capture([log(payload())], privacy="everything", salt=SALT)


def test_a_secret_fails_the_capture_with_its_place_and_is_not_shown(log, payload):
    key = "sk-" + "a1b2" * 6
    path = log(payload(), payload(1.0, model_group=f"m/{key}"))
    with pytest.raises(UsageError, match=r"gateway.jsonl: line 2: model looks like an API key") as refused:
        capture([path])
    assert key not in str(refused.value)


def test_a_secret_that_would_not_be_kept_does_not_hinder(log, payload):
    prompt = [{"role": "user", "content": "my key is sk-" + "a1b2" * 6}]
    path = log(payload(messages=prompt))
    assert len(capture([path]).workload) == 1
    with pytest.raises(UsageError, match="line 1: messages looks like an API key"):
        capture([path], privacy="text", salt=SALT)


def test_rejects_are_written_a_line_each(tmp_path):
    write_rejects([Reject("a.jsonl", 3, "not JSON")], tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {"source": "a.jsonl", "line": 3, "reason": "not JSON"}
    with pytest.raises(StorageError, match="cannot write the rejects"):
        write_rejects([], tmp_path / "no" / "r.jsonl")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(broken=st.lists(st.binary(max_size=60).map(lambda b: b.replace(b"\n", b" ")), max_size=8))
def test_no_bytes_in_a_line_ever_stop_the_capture_and_the_ledger_closes(broken, payload, tmp_path):
    path = tmp_path / "any.jsonl"
    good = json.dumps(payload()).encode()
    lines = [b"{}" if line.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) else line for line in broken] + [good]
    path.write_bytes(b"\n".join(lines))
    captured = capture([path], format="litellm")
    assert captured.ledger.kept == 1
    assert captured.ledger.read == captured.ledger.kept + sum(captured.ledger.dropped.values())
    assert captured.ledger.read >= len(lines)
    assert pl.Series([r.line for r in captured.rejects], dtype=pl.Int64).is_sorted()
