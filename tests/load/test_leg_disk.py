"""What is on disk when a worker is killed at any instant, and when the disk is full."""

import asyncio
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from storage.errors import StorageError
from storage.files import RunFiles
from storage.records import SAMPLE_COLUMNS
from tasks.load.fleet import Fleet
from tasks.load.leg import run
from tasks.load.workers import Processes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_worker_killed_at_any_instant_leaves_whole_parts_and_misses_no_more_than_the_last_second(
    sim, leg_spec, rows_of, tmp_path
):
    sim.configure(slots=0, service_ms=5.0)
    rng = random.Random(5)
    crew = Processes()
    async with Fleet(1, home=crew) as fleet:
        for n in range(3):
            sim.reset()
            spec = leg_spec(sim.url, requests=1_000_000, folder=str(tmp_path / "run" / f"leg-{n}"))
            task = asyncio.create_task(fleet.run(spec))
            while not list(Path(spec.folder).glob("part-*.parquet")):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            os.kill(crew.have(1, "")[0].hello.pid, signal.SIGKILL)
            leg = await task
            rows = rows_of(spec)
            assert list(rows.columns) == list(SAMPLE_COLUMNS)
            assert rows["seq"].is_unique().all()
            assert (leg.rows, leg.measured) == (rows.height, rows.filter(pl.col("phase") == "measured").height)
            assert leg.measured + leg.lost == leg.scheduled == 1_000_000
            assert not list(Path(spec.folder).glob("*.tmp"))
            rate = rows.height / (rows["end_ns"].max() / 1e9)
            assert sim.stats()["requests"] - rows.height <= rate * 2.0 + 3  # the last second, and one of a busy disk
    assert RunFiles(tmp_path, "run").samples().collect().height > 0


def test_a_disk_that_fills_stops_the_leg_and_keeps_what_is_there(sim, leg_spec, small_disk):
    sim.configure(slots=0, service_ms=1.0)
    spec = leg_spec(sim.url, level=20, requests=10_000_000, flush_s=0.1, folder=str(small_disk / "run" / "leg"))
    with pytest.raises(StorageError, match=r"cannot write samples to .*free some space or set another GATEBENCH_HOME"):
        run(spec)
    kept = RunFiles(small_disk, "run").samples().collect()
    assert kept.height > 0
    assert kept["seq"].is_unique().all()
    assert not (Path(spec.folder) / "leg.json").exists()
    assert sim.stats()["requests"] < 1_000_000


async def test_a_disk_that_fills_is_told_by_the_fleet_and_the_next_leg_goes_where_there_is_room(
    sim, leg_spec, small_disk, tmp_path
):
    sim.configure(slots=0, service_ms=1.0)
    spec = leg_spec(sim.url, level=20, requests=10_000_000, flush_s=0.1, folder=str(small_disk / "run" / "leg"))
    async with Fleet(2) as fleet:
        with pytest.raises(StorageError, match="cannot write samples"):
            await fleet.run(spec)
        assert (await fleet.run(leg_spec(sim.url, folder=str(tmp_path / "again")))).ok == 12


def test_a_leg_whose_manifest_finds_no_room_says_so(sim, leg_spec, tmp_path):
    spec = leg_spec(sim.url)
    (Path(spec.folder) / "leg.json.tmp").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*leg\.json.*free some space"):
        run(spec)


def test_the_manifest_is_there_only_when_the_leg_is_closed(sim, leg_spec):
    spec = leg_spec(sim.url)
    leg = run(spec)
    assert json.loads((Path(spec.folder) / "leg.json").read_text())["rows"] == leg.rows
    assert sorted(file.suffix for file in Path(spec.folder).iterdir()) == [".json", ".parquet"]
