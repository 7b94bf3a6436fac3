import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError, UsageError
from storage.records import Arrival
from tasks.workload.ledger import Ledger
from tasks.workload.trace import Header, SourceFile, from_arrivals, parse_window, read, speed, window, write

HEADER = Header(
    name="w",
    formats=("litellm",),
    sources=(SourceFile("a.jsonl", "ab" * 32, 17),),
    arrival_basis="startTime",
    resolution_ns=1000,
    started_at="2026-11-24T06:49:51+00:00",
    ledger=Ledger(4, 3, {"not JSON": 1}),
)


def arrival(seconds: float, model: str = "m", **more) -> Arrival:
    return Arrival(round(seconds * 1e9), model, 10, 5, None, True, **more)


def of(*seconds: float, header: Header = HEADER):
    return from_arrivals([arrival(s) for s in seconds], header)


def offsets(workload) -> list[float]:
    return [a.offset_ns / 1e9 for a in workload.arrivals()]


def test_what_was_written_is_read_again_row_by_row_and_with_its_header(tmp_path):
    arrivals = [arrival(0), arrival(1.5, "ü", session="s", user="u", first_token_ns=3, duration_ns=9, failure="429")]
    workload = from_arrivals(arrivals, HEADER)
    identity = write(workload, tmp_path / "deep" / "w.parquet")
    again = read(tmp_path / "deep" / "w.parquet")
    assert identity == workload.id == again.id
    assert list(again.arrivals()) == arrivals
    assert again.header == workload.header
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["w.parquet"]


def test_the_id_is_of_the_rows_and_of_nothing_else():
    assert of(0, 1).id == of(1, 0).id == of(0, 1, header=Header(name="other")).id
    assert len(of(0, 1).id) == 64


@pytest.mark.parametrize(
    "other",
    [
        Arrival(1, "m", 10, 5, None, True),
        Arrival(0, "n", 10, 5, None, True),
        Arrival(0, "m", None, 5, None, True),
        Arrival(0, "m", 0, 5, None, True),
        Arrival(0, "m", 5, 10, None, True),
        Arrival(0, "m", 10, None, 5, True),
        Arrival(0, "m", 10, 5, None, False),
        Arrival(0, "m", 10, 5, None, True, session=""),
        Arrival(0, "m", 10, 5, None, True, user="s"),
        Arrival(0, "m", 10, 5, None, True, cache_hit=False),
    ],
)
def test_any_change_of_a_row_changes_the_id(other):
    assert from_arrivals([other], HEADER).id != from_arrivals([Arrival(0, "m", 10, 5, None, True)], HEADER).id


def test_the_id_of_two_known_rows_stays_what_it_was():
    """An id is compared across versions and machines: this literal must never change."""
    assert of(0, 1.5).id == "0d74171fb20362ea2c78dd5242a0a4f4302120b3c65a47e1ea7a74a52a32e887"


def test_a_file_that_is_no_workload_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no workload at"):
        read(tmp_path / "no.parquet")
    (tmp_path / "log.jsonl").write_text("{}\n")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    for name in ("log.jsonl", "a.parquet"):
        with pytest.raises(UsageError, match="is not a workload"):
            read(tmp_path / name)


def test_a_workload_that_was_changed_or_cut_is_refused(tmp_path):
    path = tmp_path / "w.parquet"
    write(of(0, 1), path)
    meta = {"gatebench": pl.read_parquet_metadata(path)["gatebench"]}
    changed = pl.read_parquet(path).with_columns(pl.col("offset_ns") + 1)
    changed.write_parquet(path, metadata=meta)
    with pytest.raises(UsageError, match="was changed since it was written"):
        read(path)
    changed.drop("model").write_parquet(path, metadata=meta)
    with pytest.raises(UsageError, match="damaged"):
        read(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UsageError, match="is not a workload"):
        read(path)


def test_a_place_that_cannot_be_written_is_a_storage_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the workload"):
        write(of(0), tmp_path / "file" / "w.parquet")
    (tmp_path / "w.parquet").mkdir()
    with pytest.raises(StorageError, match="cannot write the workload"):
        write(of(0), tmp_path / "w.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "w.parquet"]


def test_a_secret_is_never_written_wherever_the_workload_came_from(tmp_path):
    secret = from_arrivals([arrival(0), arrival(1, "m", user="jane@example.org")], HEADER)
    with pytest.raises(UsageError, match="user in row 2 of the workload looks like an e-mail address"):
        write(secret, tmp_path / "w.parquet")
    with pytest.raises(UsageError, match="the workload's name looks like"):
        write(of(0, header=Header(name="for jane@example.org")), tmp_path / "w.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("20s", [0, 10]),
        ("0:20s", [0, 10]),
        ("10:30", [0, 10]),
        ("15s:1m", [5, 15]),
        ("15s:", [5, 15, 75]),
        (":1h", [0, 10, 20, 30, 90]),
        ("1m30s:1h30m", [0]),
        ("9999ms:10001ms", [0.001]),
    ],
)
def test_a_window_is_the_part_it_names_counted_from_its_start(text, kept):
    part = window(of(0, 10, 20, 30, 90), text)
    assert offsets(part) == kept
    assert part.header.derived == (f"window {text}",)


@pytest.mark.parametrize("text", ["", "ten minutes", "10m:5m", "5:5", "-5s", "1d", "1:2:3", "m"])
def test_a_window_that_cannot_be_read_is_refused(text):
    with pytest.raises(UsageError, match="window"):
        parse_window(text)


def test_a_window_without_arrivals_says_how_long_the_workload_is(tmp_path):
    with pytest.raises(UsageError, match=r"no arrival lies in the window '1h:2h'; the workload spans 90\.0 s"):
        window(of(0, 90), "1h:2h")


def test_speed_divides_offsets_and_leaves_recorded_durations_alone():
    fast = speed(from_arrivals([arrival(0), arrival(3, duration_ns=7)], HEADER), 2)
    assert [(a.offset_ns, a.duration_ns) for a in fast.arrivals()] == [(0, None), (1_500_000_000, 7)]
    assert (fast.header.derived, fast.header.span_ns) == (("speed 2",), 1_500_000_000)
    assert speed(fast, 1) is fast


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_no_speed_is_refused(factor):
    with pytest.raises(UsageError, match="speed must be a positive number"):
        speed(of(0, 1), factor)


@given(
    seconds=st.lists(st.floats(0, 1000), min_size=1, max_size=30),
    start=st.integers(0, 500),
    length=st.integers(1, 600),
)
def test_a_window_keeps_exactly_what_lies_in_it(seconds, start, length):
    workload = of(*seconds)
    inside = sorted(
        a.offset_ns - start * 10**9
        for a in workload.arrivals()
        if start * 10**9 <= a.offset_ns < (start + length) * 10**9
    )
    if inside:
        assert [a.offset_ns for a in window(workload, f"{start}s:{start + length}s").arrivals()] == inside
    else:
        with pytest.raises(UsageError):
            window(workload, f"{start}s:{start + length}s")
