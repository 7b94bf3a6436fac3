import errno
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random

import polars as pl
import pytest

from storage.errors import StorageError, UsageError
from storage.files import RunFiles, new_run_id, polars_schema
from storage.records import SAMPLE_COLUMNS

RUN = "20261101T020000Z-nightly-0001"


def rows(leg_id: str, seqs: list[int]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=polars_schema())
    known = pl.DataFrame({"leg_id": leg_id, "seq": seqs, "chunk_gaps_us": [[1, 2]] * len(seqs)})
    return pl.concat([empty, known.cast({"chunk_gaps_us": pl.List(pl.UInt32)})], how="diagonal")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(tmp_path / "runs", RUN)


def test_samples_of_all_legs_closed_or_not_are_one_frame(files, make_leg):
    rows("a", [0, 1]).write_parquet(files.leg_folder("a") / "part-00000.parquet")
    rows("a", [2]).write_parquet(files.leg_folder("a") / "part-00001.parquet")
    rows("b", [0]).write_parquet(files.leg_folder("b") / "part-00000.parquet")
    files.write_leg(make_leg("a"))
    (files.leg_folder("b") / ".part-00001.parquet.tmp").write_bytes(b"half")
    frame = files.samples().collect()
    assert frame.select("leg_id", "seq").rows() == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert frame.schema == polars_schema()
    assert frame["chunk_gaps_us"].to_list()[0] == [1, 2]


def test_no_samples_are_an_empty_frame_with_all_columns(files):
    frame = files.samples().collect()
    assert (frame.height, frame.columns) == (0, list(SAMPLE_COLUMNS))


def test_parts_of_an_older_version_get_nulls_and_of_a_newer_one_lose_what_we_do_not_know(files):
    rows("a", [0]).drop("resends").write_parquet(files.leg_folder("a") / "part-00000.parquet")
    rows("b", [1]).with_columns(tomorrow=1).write_parquet(files.leg_folder("b") / "part-00000.parquet")
    frame = files.samples().collect()
    assert frame.schema == polars_schema()
    assert frame["resends"].to_list() == [None, None]


def test_a_part_that_was_cut_off_is_named(files):
    path = files.leg_folder("a") / "part-00000.parquet"
    rows("a", [0]).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"a/part-00000.parquet was cut off"):
        files.samples()
    path.write_bytes(b"")
    with pytest.raises(StorageError, match=r"a/part-00000.parquet was cut off"):
        files.samples()


def test_legs_come_back_in_the_order_they_ran(files, make_leg):
    late, early = make_leg("a", started_at="2026-11-01T02:00:09+00:00"), make_leg("b")
    files.write_leg(late)
    files.write_leg(early)
    assert files.legs() == [early, late]
    assert [path.name for path in (files.folder / "a").iterdir()] == ["leg.json"]


def test_a_leg_of_a_later_version_is_read_without_what_we_do_not_know(files, make_leg):
    path = files.write_leg(make_leg("a"))
    path.write_text(path.read_text().replace('"run_id"', '"moon_phase": 3, "run_id"'))
    assert files.legs() == [make_leg("a")]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"leg_id": "a"}'])
def test_a_broken_leg_file_is_named(files, make_leg, text):
    files.write_leg(make_leg("a")).write_text(text)
    with pytest.raises(StorageError, match=r"a/leg.json cannot be read"):
        files.legs()


def test_the_manifest_comes_back_as_it_went_in(files, make_run):
    files.write_run(make_run())
    assert files.read_run() == make_run()


def test_a_full_disk_leaves_the_file_as_it_was(files, make_leg):
    def no_space(path: Path, text: str) -> None:
        path.write_text(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    files.write_leg(make_leg("a"))
    with pytest.raises(StorageError, match=r"no space left to write .*leg.json; free space"):
        RunFiles(files.runs_path, RUN, no_space).write_leg(make_leg("a", ok=1))
    assert files.legs() == [make_leg("a")]
    assert [path.name for path in (files.folder / "a").iterdir()] == ["leg.json"]


def test_folders_are_for_this_user_alone(files):
    for folder in (files.leg_folder("a"), files.charts_folder(), files.folder, files.runs_path):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, files, name):
    with pytest.raises(UsageError):
        RunFiles(tmp_path, name)
    with pytest.raises(UsageError):
        files.leg_folder(name)


def test_run_ids_sort_by_time_in_utc_and_differ_within_a_second():
    here = timezone(timedelta(hours=2))
    now = datetime(2026, 11, 24, 10, 21, 49, tzinfo=here)
    assert new_run_id("nightly", now, Random(4)) == "20261124T082149Z-nightly-78db"
    rng = Random(4)
    assert new_run_id("sweep", now, rng) != new_run_id("sweep", now, rng)
    assert new_run_id("a", now) < new_run_id("a", datetime(2026, 11, 24, 8, 21, 50, tzinfo=UTC))


def test_what_there_is_of_a_leg_can_be_set_aside_and_is_no_part_of_the_run_then(files, make_leg):
    for leg_id in ("a", "b", "c"):
        rows(leg_id, [0, 1]).write_parquet(files.leg_folder(leg_id) / "part-00000.parquet")
    files.write_leg(make_leg("a"))
    (files.leg_folder("b") / "part-00001.tmp").write_bytes(b"half")
    files.charts_folder()
    assert files.begun() == ["a", "b", "c"]
    assert (files.set_aside("a"), files.set_aside("b")) == (2, 2)
    assert files.begun() == ["c"]
    assert files.legs() == []
    assert files.samples().select("leg_id").collect()["leg_id"].to_list() == ["c", "c"]
    rows("b", [5]).write_parquet(files.leg_folder("b") / "part-00000.parquet")
    assert files.set_aside("b") == 1
    kept = sorted(str(path.relative_to(files.folder)) for path in files.folder.glob("*/unfinished-*/*"))
    assert kept == [
        "a/unfinished-0/leg.json", "a/unfinished-0/part-00000.parquet", "b/unfinished-0/part-00000.parquet",
        "b/unfinished-0/part-00001.tmp", "b/unfinished-1/part-00000.parquet",
    ]  # fmt: skip
