import json

import pytest

from storage.errors import UsageError
from tasks.workload.formats.detect import choose


def found(*lines: bytes) -> str:
    with pytest.raises(UsageError) as refused:
        choose("auto", lines, "x.log")
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_a_litellm_log_is_known_by_its_content_even_behind_broken_lines(payload):
    assert choose("auto", [b"", b"{oops", json.dumps(payload()).encode()], "x").name == "litellm"


def test_spend_logs_are_not_taken_for_payloads():
    spend = {"request_id": "r", "call_type": "acompletion", "startTime": "2026-01-01T00:00:00", "model_group": "m"}
    assert "fields request_id, call_type, startTime, model_group" in found(json.dumps(spend).encode())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"PAR1\x15\x04", "line 1 holds a Parquet file (a workload needs no capture)"),
        (b"\x00\x01\x02", "line 1 holds binary data"),
        ('{"a": 1}'.encode("utf-16"), "line 1 holds UTF-16 text (`iconv -f UTF-16 -t UTF-8 FILE` makes UTF-8 of it)"),
        (b"WHEN,WHAT,HOW MUCH", "line 1 holds comma-separated text"),
        (b"127.0.0.1 - GET /", "line 1 holds text that is not JSON"),
        (b"[1, 2]", "line 1 holds JSON that is not an object"),
        (b'{"level": "info", "my secret key": 1}', "line 1 holds a JSON object with the fields level,"),
    ],
)
def test_an_unknown_format_is_refused_with_what_was_found_and_what_is_known(line, said):
    message = found(line)
    assert said in message
    assert message.startswith("x.log: ")
    assert ", which is no known log format; known are " in message
    assert "litellm" in message


def test_the_line_named_is_the_first_that_says_something():
    assert "line 3 holds text that is not JSON" in found(b"", b" ", b"hello")


def test_a_format_nobody_knows_is_refused_by_name():
    with pytest.raises(UsageError, match=r"unknown log format 'apache'; known are auto, .*litellm"):
        choose("apache", [], "x.log")
