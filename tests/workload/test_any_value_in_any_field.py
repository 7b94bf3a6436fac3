"""Whatever stands in a field of any format, each record gives one row or one drop, and the ledger closes."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.workload.capture import capture
from tests.fakes.logs import SAMPLES, json_lines

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["", "0", "1e400", "9" * 400, "2026-99-99T00:00:00Z", '"', "'{", "\x00", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
AS_JSON = [name for name, sample in SAMPLES.items() if sample.render is json_lines]


@pytest.mark.parametrize("name", AS_JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_a_record_is_a_row_or_a_drop(name, data, tmp_path):
    sample = SAMPLES[name]
    records = [sample.record]
    for _ in range(4):
        where = data.draw(st.sampled_from(list(sample.leaves())))
        part = data.draw(st.integers(1, len(where)))  # a value, or a whole object in the place of which it stands
        records.append(sample.planted(where[:part], data.draw(ANY)))
    path = tmp_path / "log"
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    captured = capture([path], format=sample.format, privacy="structure", salt=b"a salt of sixteen bytes")
    assert captured.ledger.read == captured.ledger.kept + sum(captured.ledger.dropped.values()) == 5


@pytest.mark.parametrize("name", SAMPLES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@example(junk=b"{}", at=0)
@given(
    junk=st.binary(max_size=50).filter(lambda b: not b.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))),
    at=st.integers(0, 3),
)
def test_a_line_of_junk_anywhere_stops_nothing(name, junk, at, tmp_path):
    """Not in the header of a CSV, without which nothing can be known."""
    sample = SAMPLES[name]
    lines = sample.render([sample.record] * 3).split(b"\n")
    junk = junk.replace(b"\n", b" ").replace(b"\r", b" ")
    table = lines[0].count(b",") >= 2 and b"{" not in lines[0] and b'"' not in lines[0]
    lines.insert(max(at, table), junk)
    path = tmp_path / "log"
    path.write_bytes(b"\n".join(lines))
    captured = capture([path], format=sample.format)
    assert captured.ledger.kept >= 1
    assert captured.ledger.read == captured.ledger.kept + sum(captured.ledger.dropped.values())
