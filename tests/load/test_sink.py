"""Rows -> Parquet and back, unchanged; a part is whole or not there."""

import asyncio
import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.records import SAMPLE_COLUMNS, Failure, Phase, Sample
from tasks.load.sink import PART_ROWS, SCHEMA, Sink, write_part

CONSTANTS = {"trial_id": "t", "leg_id": "l", "attempt": "first", "block": 2, "target": "gw", "level": 10, "shard": 0}

words = st.text(max_size=6)
nanoseconds = st.integers(-(2**63) + 1, 2**63 - 1)
small = st.integers(-(2**31), 2**31 - 1)
KINDS = {"str": words, "i64": nanoseconds, "i32": small, "bool": st.booleans()}
OF_ITS_OWN = {
    "chunk_gaps_us": st.one_of(st.none(), st.lists(st.integers(0, 2**32 - 1), max_size=4)),
    "retry_after_s": st.one_of(st.none(), st.integers(0, 10**9).map(lambda milli: milli / 1000)),
    "failure": st.one_of(st.none(), st.sampled_from(Failure)),
    "phase": st.sampled_from(Phase),
}
ALWAYS = {"seq", "phase", "stream_label", "intended_ns", "sent_ns", "end_ns", "stream", "request_bytes"} | {
    "response_bytes",
    "model_asked",
    "connection_reused",
    "resends",
}


def column(name: str) -> st.SearchStrategy:
    if name in OF_ITS_OWN:
        return OF_ITS_OWN[name]
    kind = KINDS[SAMPLE_COLUMNS[name]]
    return kind if name in ALWAYS else st.one_of(st.none(), kind)


samples = st.tuples(*(column(name) for name in Sample._fields)).map(Sample._make)
NOTHING = Sample(
    0, "measured", "main", 1, 2, *[None] * 7, 3, None, True, None, None, 4, 5, *[None] * 3, "m", *[None] * 6, False, 0
)


def sample(seq: int, **changes: object) -> Sample:
    return NOTHING._replace(seq=seq, **changes)


def keep(folder: Path, rows: list[Sample], **options: object) -> pl.DataFrame:
    folder.mkdir(exist_ok=True)
    sink = Sink(folder, CONSTANTS, **options)
    for row in rows:
        sink.add(row)
    sink.close()
    return pl.read_parquet(folder / "part-*.parquet")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(rows=st.lists(samples, min_size=1, max_size=6))
def test_what_is_put_in_comes_out(tmp_path, rows):
    for part in tmp_path.glob("part-*"):
        part.unlink()
    frame = keep(tmp_path, rows)
    assert dict(frame.schema) == SCHEMA
    assert frame.with_columns(pl.col("retry_after_s").round(3)).select(Sample._fields).rows() == [
        tuple(r) for r in rows
    ]
    assert frame.select(list(CONSTANTS)).unique().rows() == [tuple(CONSTANTS.values())]


def test_absent_stays_absent(tmp_path):
    frame = keep(tmp_path, [NOTHING, sample(1, status=200, failure=Failure.RESET, retry_after_s=0.29)])
    assert Sample(*frame.select(Sample._fields).row(0)) == NOTHING
    assert frame.select("status", "failure", "retry_after_s").rows() == [(None, None, None), (200, "reset", 0.29)]


def test_words_of_any_script_are_kept(tmp_path):
    frame = keep(tmp_path, [sample(0, model_served="模型-é🙂", request_id="ü\x00"), sample(1, model_served="")])
    assert frame.select("model_served", "request_id").rows() == [("模型-é🙂", "ü\x00"), ("", None)]


def test_a_part_is_closed_when_it_has_its_rows(tmp_path):
    frame = keep(tmp_path, [sample(k) for k in range(PART_ROWS + 1)], flush_s=1e6)
    assert sorted(part.name for part in tmp_path.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    assert pl.read_parquet(tmp_path / "part-00000.parquet").height == PART_ROWS
    assert frame["seq"].sort().to_list() == list(range(PART_ROWS + 1))


def test_words_that_never_come_again_are_forgotten_with_their_part(tmp_path):
    parts: list[pl.DataFrame] = []
    sink = Sink(tmp_path, CONSTANTS, flush_s=1e6, write=lambda frame, _: parts.append(frame))
    for seq in range(3):
        sink.add(sample(seq, model_served=f"served-{seq}", failure=Failure.EMPTY))
        assert len(sink._codes) == len({None, "measured", "main", "m", "served", "empty"})
        sink.flush()
    sink.close()
    rows = pl.concat(parts).select("seq", "model_served", "model_asked", "phase", "failure").rows()
    assert rows == [(seq, f"served-{seq}", "m", "measured", "empty") for seq in range(3)]


def test_no_rows_no_parts(tmp_path):
    sink = Sink(tmp_path, CONSTANTS)
    sink.close()
    assert (list(tmp_path.iterdir()), sink.rows) == ([], 0)


def test_parts_that_are_there_are_not_written_over(tmp_path):
    keep(tmp_path, [sample(0)])
    assert keep(tmp_path, [sample(1)])["seq"].sort().to_list() == [0, 1]


async def test_a_row_does_not_wait_for_the_next_one(tmp_path):
    sink = Sink(tmp_path, CONSTANTS, flush_s=0.05)
    sink.follow(asyncio.get_running_loop())
    sink.add(sample(0))
    for _ in range(1000):
        if not list(tmp_path.glob("part-*.parquet")):
            await asyncio.sleep(0.01)
    assert pl.read_parquet(tmp_path / "part-*.parquet")["seq"].to_list() == [0]
    sink.close()


def full_disk(_: pl.DataFrame, path: Path) -> None:
    raise OSError(28, "No space left on device", str(path))


def test_a_full_disk_is_said_at_the_latest_when_the_leg_is_closed(tmp_path):
    sink = Sink(tmp_path, CONSTANTS, flush_s=1e6, write=full_disk)
    sink.add(sample(0))
    with pytest.raises(StorageError, match=f"cannot write samples to {tmp_path}.*No space left.*free some space"):
        sink.close()


def test_a_full_disk_is_said_by_the_next_row_and_once_more_at_the_close(tmp_path):
    def only_the_first_fails(frame: pl.DataFrame, path: Path) -> None:
        if path.name == "part-00000.parquet":
            full_disk(frame, path)
        write_part(frame, path)

    sink = Sink(tmp_path, CONSTANTS, flush_s=0.0, write=only_the_first_fails)
    with pytest.raises(StorageError):
        for seq in range(1_000_000):
            sink.add(sample(seq))
    with pytest.raises(StorageError):
        sink.close()


async def test_a_full_disk_is_said_while_the_rows_come_in_slowly(tmp_path):
    sink = Sink(tmp_path, CONSTANTS, flush_s=0.2, write=full_disk)
    sink.follow(asyncio.get_running_loop())
    with pytest.raises(StorageError):
        for seq in range(3000):
            sink.add(sample(seq))
            await asyncio.sleep(0.01)
    with pytest.raises(StorageError):
        sink.close()
    assert sink.rows < 3000


def test_a_disk_that_stands_still_is_said_before_it_takes_the_memory(tmp_path):
    goes_on = threading.Event()

    def stalled(frame: pl.DataFrame, path: Path) -> None:
        goes_on.wait()
        write_part(frame, path)

    sink = Sink(tmp_path, CONSTANTS, flush_s=0.0, write=stalled, most_waiting=3)
    for seq in range(3):
        sink.add(sample(seq))
    with pytest.raises(StorageError, match=f"cannot write samples to {tmp_path} as fast as they come: 4 parts wait"):
        sink.add(sample(3))
    goes_on.set()
    sink.close()
    assert pl.read_parquet(tmp_path / "part-*.parquet")["seq"].sort().to_list() == [0, 1, 2, 3]


class CutOff:
    """A frame whose writing breaks off in the middle."""

    def write_parquet(self, path: Path, **_: object) -> None:
        path.write_bytes(b"PAR1half")
        raise OSError(28, "No space left on device")


def test_a_part_that_could_not_be_finished_is_not_there(tmp_path):
    with pytest.raises(OSError, match="No space"):
        write_part(CutOff(), tmp_path / "part-00000.parquet")
    assert list(tmp_path.iterdir()) == []


def test_every_column_of_the_log_is_written_in_its_order(tmp_path):
    assert keep(tmp_path, [NOTHING]).columns == list(SAMPLE_COLUMNS)


def test_a_gap_longer_than_the_column_can_hold_loses_no_row(tmp_path):
    sink = Sink(tmp_path, CONSTANTS)
    sink.add(sample(0, chunk_gaps_us=[5, 2**32 + 5]))
    sink.add(sample(1, chunk_gaps_us=[7]))
    sink.close()
    assert pl.read_parquet(tmp_path / "part-*.parquet")["chunk_gaps_us"].to_list() == [[5, 2**32 - 1], [7]]
