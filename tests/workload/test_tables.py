"""Lines as records, whatever they are written as; a broken one stops nothing."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.workload.formats.adapter import Drop
from tasks.workload.formats.table import Record, records, sample


def read(text: str | bytes) -> list[Record | Drop]:
    raw = text.encode() if isinstance(text, str) else text
    return list(records(enumerate(raw.split(b"\n"), 1)))


def values(text: str) -> list[dict]:
    found = read(text)
    assert all(isinstance(r, Record) for r in found), found
    return [r.value for r in found]


def test_json_lines_a_list_in_a_line_and_a_document_over_many_lines_are_the_same_records():
    objects = [{"a": 1, "b": {"c": 2}}, {"a": 3, "b": {"c": 4}}]
    assert values("\n".join(map(json.dumps, objects))) == objects
    assert values(json.dumps(objects)) == objects
    assert values(json.dumps(objects, indent=2)) == objects
    assert values(json.dumps({"data": objects, "meta": {}}, indent=2)) == objects
    assert values(json.dumps(objects[0], indent=2)) == objects[:1]


def test_a_list_with_an_element_a_line_is_read_line_by_line():
    assert read('[\n{"a": 1},\n{"a": 2}\n]') == [
        Drop(1, "a bracket around the list", broken=False),
        Record(2, {"a": 1}),
        Record(3, {"a": 2}),
        Drop(4, "a bracket around the list", broken=False),
    ]


def test_csv_is_read_by_the_names_of_its_columns_and_an_empty_cell_is_none():
    assert values("a,b\n1,\nx,y") == [{"a": "1", "b": None}, {"a": "x", "b": "y"}]
    assert values("a;b\n1,5;2") == [{"a": "1,5", "b": "2"}]
    assert values("a\tb\n1\t2") == [{"a": "1", "b": "2"}]


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), st.text('xy"\n, ')), max_size=5
    )
)
def test_whatever_the_csv_module_writes_is_read_again(rows):
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("first", "second"), *rows])
    expected = [{"first": a or None, "second": b or None} for a, b in rows]
    assert values(out.getvalue().removesuffix("\n")) == expected


@pytest.mark.parametrize("broken", ["{", "[", '{"a": ', 'cut", "of": 1}', "a,b,c", "\x00", "}"])
def test_a_broken_first_line_never_stops_those_below(broken):
    found = read(broken + '\n{"a": 1}\n{"a": 2}')
    assert [r.value for r in found if isinstance(r, Record)] == [{"a": 1}, {"a": 2}]
    assert isinstance(found[0], Drop)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"open,2', "quotes that make no sense"),
        ('"a"b,2', "quotes that make no sense"),
        ("1,2,3", "3 cells where the header names 2 columns"),
        ("1", "1 cells where the header names 2 columns"),
        (b"\xff,2", "not UTF-8"),
    ],
)
def test_a_broken_line_of_csv_is_dropped_alone(line, reason):
    raw = line if isinstance(line, bytes) else line.encode()
    found = read(b"a,b\n1,2\n" + raw + b'\n3,"4\n5"\n6,7')
    assert found == [
        Record(2, {"a": "1", "b": "2"}),
        Drop(3, reason, broken=True),
        Record(4, {"a": "3", "b": "4\n5"}),
        Record(6, {"a": "6", "b": "7"}),
    ]


def test_files_put_one_after_the_other_repeat_their_header():
    assert read("a,b\n1,2\na,b\n3,4")[1] == Drop(3, "the header once more", broken=False)


def test_text_that_is_no_table_is_all_broken():
    assert read("hello\nworld") == [
        Drop(1, "neither JSON nor CSV with a header", broken=True),
        Drop(2, "neither JSON nor CSV with a header", broken=True),
    ]


def test_a_document_that_is_cut_is_one_broken_record_and_its_beginning_is_still_known():
    whole = json.dumps([{"a": 1}, {"a": 2}], indent=2)
    assert read(whole[:-5]) == [Drop(1, "a JSON document that is cut or broken", broken=True)]
    assert sample(whole[:-5].encode().split(b"\n")) == [{"a": 1}]
    assert sample(json.dumps({"data": [{"a": 1}]}, indent=2).encode().split(b"\n")) == [{"a": 1}]
    assert sample([b"", b"a,b", b"1,2"]) == [{"a": "1", "b": "2"}]
    assert sample([]) == []


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=12))
def test_whatever_bytes_stand_in_lines_each_gives_records_or_drops_in_order(lines):
    numbers = [r.line for r in records(enumerate(lines, 1))]
    assert numbers == sorted(numbers)
    assert all(1 <= number <= len(lines) for number in numbers)
