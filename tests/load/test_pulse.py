"""How a leg goes, from the parts closed so far."""

from pathlib import Path

import pytest

from tasks.load.pulse import Pulse, Seen
from tests.fakes.samples import rows


def part(folder: Path, number: int, **columns: object) -> None:
    folder.mkdir(exist_ok=True)
    rows("a", [10.0] * 100, **columns).write_parquet(folder / f"part-{number:05d}.parquet")


def test_a_folder_that_is_not_there_yet_shows_nothing(tmp_path):
    assert Pulse(tmp_path / "none").look() == Seen(0, 0, None, None)


def test_rate_failures_and_lag_are_those_of_the_parts(tmp_path):
    failures = ["http_5xx"] * 3 + [None] * 97
    part(tmp_path / "leg", 0, failure=failures, intended_ns=[k * 10_000_000 - 500_000 for k in range(100)])
    seen = Pulse(tmp_path / "leg").look()
    assert (seen.measured, seen.failed) == (100, 3)
    assert seen.rate_rps == pytest.approx(100)  # one ends every 10 ms
    assert seen.lag_p99_ms == pytest.approx(0.5)


def test_each_part_is_read_once_and_counts_add_up(tmp_path):
    pulse = Pulse(tmp_path / "leg")
    part(tmp_path / "leg", 0)
    assert pulse.look().measured == 100
    assert pulse.look().measured == 100
    part(tmp_path / "leg", 1)
    assert pulse.look().measured == 200


def test_warm_up_makes_the_rate_and_not_the_count(tmp_path):
    part(tmp_path / "leg", 0, phase="warmup")
    seen = Pulse(tmp_path / "leg").look()
    assert (seen.measured, seen.lag_p99_ms) == (0, None)
    assert seen.rate_rps == pytest.approx(100)


def test_the_rate_is_of_the_last_seconds_only(tmp_path):
    part(tmp_path / "leg", 0)
    later = [60_000_000_000 + k * 1_000_000 for k in range(100)]
    part(tmp_path / "leg", 1, end_ns=later)
    assert Pulse(tmp_path / "leg").look().rate_rps == pytest.approx(1000)


def test_a_part_that_is_no_parquet_is_left_out(tmp_path):
    part(tmp_path / "leg", 0)
    (tmp_path / "leg" / "part-00001.parquet").write_bytes(b"half a part")
    assert Pulse(tmp_path / "leg").look().measured == 100
