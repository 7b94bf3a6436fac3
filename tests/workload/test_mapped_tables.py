"""Any table, by the names of its columns."""

import datetime as dt
import json

import polars as pl
import pytest

from storage.errors import UsageError
from tasks.workload.capture import capture
from tasks.workload.formats.mapped import mapped

CSV = "when,deployment,in,out\n0.5,large,10,5\n2,small,20,\n"


@pytest.fixture
def table(tmp_path):
    def write(content: str | pl.DataFrame, name: str = "t.csv"):
        path = tmp_path / name
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    return write


def arrivals(path, mapping):
    return list(capture([path], mapping=mapping).workload.arrivals())


def test_a_csv_is_captured_by_the_columns_named(table):
    first, second = arrivals(table(CSV), "offset=when, model=deployment, input_tokens=in, output_tokens=out")
    assert (first.offset_ns, first.model, first.input_tokens, first.output_tokens) == (0, "large", 10, 5)
    assert (second.offset_ns, second.model, second.input_tokens, second.output_tokens) == (
        1_500_000_000,
        "small",
        20,
        None,
    )


def test_json_lines_may_name_what_lies_inside_an_object(table):
    lines = [{"t": 1795502991000 + n, "usage": {"prompt": 7}, "a.b": "m", "s": 503, "ms": 12} for n in range(2)]
    path = table("\n".join(map(json.dumps, lines)), "t.jsonl")
    captured = capture([path], mapping="time=t:ms,model=a.b,input_tokens=usage.prompt,status=s,duration=ms:ms")
    _, second = captured.workload.arrivals()
    assert (second.offset_ns, second.model, second.input_tokens) == (1_000_000, "m", 7)
    assert (second.failure, second.duration_ns) == ("503", 12_000_000)
    assert captured.workload.header.arrival_basis == "column t (ms, UTC where no zone is written)"
    assert captured.workload.header.started_at == "2026-11-24T06:49:51+00:00"


def test_a_parquet_file_is_a_table_like_any_other(table):
    frame = pl.DataFrame(
        {
            "t": [dt.datetime(2026, 1, 1, 12, microsecond=us, tzinfo=dt.UTC) for us in (250_000, 0)],
            "n": [3, 4],
            "blob": [b"x", b"y"],
            "lasted": [dt.timedelta(seconds=1.5)] * 2,
            "on": [True, False],
        }
    )
    path = table(frame, "t.parquet")
    first, second = arrivals(path, "time=t,input_tokens=n,duration=lasted,stream=on")
    assert (first.input_tokens, first.stream, first.duration_ns) == (4, False, 1_500_000_000)
    assert (second.offset_ns, second.input_tokens, second.stream) == (250_000_000, 3, True)


@pytest.mark.parametrize(
    ("unit", "a", "b"),
    [
        ("s", "100.25", "100.5"),
        ("ms", "100250", "100500"),
        ("us", "100250000", "100500000"),
        ("ns", "100250000000", "100500000000"),
        ("iso", "2026-01-01T00:00:00.25Z", "2026-01-01T00:00:00.5Z"),
        ("iso", "2026-01-01T02:00:00.25+02:00", "2026-01-01 00:00:00.500000000"),
    ],
)
def test_every_unit_of_time_is_understood(table, unit, a, b):
    _, second = arrivals(table(f"t,x\n{a},\n{b},\n"), f"time=t:{unit}")
    assert second.offset_ns == 250_000_000


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_stamp_is_told_by_its_size(table, scale):
    stamps = [1_795_502_991 * scale, 1_795_502_993 * scale]
    _, second = arrivals(table("\n".join(["t,x", *(f"{s}," for s in stamps)])), "time=t")
    assert second.offset_ns == 2 * 10**9


def test_other_fields_are_read_too(table):
    text = "t,sess,u,ttft,cap,word,hit\n1,s,u,0.25,64,ok,t\n2,s,u,,,timeout,f\n"
    mapping = "offset=t,session=sess,user=u,first_token=ttft,max_output_tokens=cap,status=word,cache_hit=hit"
    first, second = capture([table(text)], mapping=mapping, privacy="structure", salt=b"x" * 16).workload.arrivals()
    assert (first.first_token_ns, first.max_output_tokens, first.failure, first.cache_hit) == (
        250_000_000,
        64,
        None,
        True,
    )
    assert (second.failure, second.cache_hit) == ("timeout", False)
    assert first.session == second.session is not None


def test_a_broken_row_is_dropped_with_its_line(table):
    captured = capture([table("t,n\n1,2\nsoon,2\n3,many\n,1\n")], mapping="offset=t,input_tokens=n")
    assert [(r.line, r.reason) for r in captured.rejects] == [
        (3, "offset is not a time"),
        (4, "input_tokens is not a whole number"),
        (5, "no offset"),
    ]
    assert captured.ledger.kept == 1


def test_a_column_that_is_not_there_is_refused_with_those_that_are(table):
    with pytest.raises(UsageError, match=r"t\.csv has no column wann, modell; it has when, deployment, in, out"):
        capture([table(CSV)], mapping="offset=wann,model=modell")


def test_a_header_that_looks_like_a_secret_is_not_shown(table):
    with pytest.raises(UsageError, match=r"it has t$"):
        capture([table("t,jane@example.org\n1,2\n")], mapping="offset=nope")


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("", "cannot read ''"),
        ("offset", "cannot read 'offset' in --map; write FIELD=COLUMN"),
        ("offset=a,colour=b", "the field 'colour'; known are offset, time, end, duration"),
        ("offset=a,offset=b", "the field 'offset' twice"),
        ("model=a", "needs the arrival"),
        ("offset=a,time=b", "needs the arrival"),
        ("offset=a,model=b:ms", "model takes no unit 'ms'"),
        ("offset=a,duration=b:iso", "duration takes no unit 'iso'"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(mapping, said):
    with pytest.raises(UsageError) as refused:
        mapped(mapping)
    assert said in str(refused.value)


def test_text_is_no_table(table):
    with pytest.raises(UsageError, match="is no table"):
        capture([table("hello\nworld")], mapping="offset=a")


def test_a_format_beside_a_mapping_is_refused_instead_of_ignored(tmp_path):
    with pytest.raises(UsageError, match="--format nginx a format of its own: give one of the two"):
        capture([tmp_path], mapping="time=t", format="nginx")
