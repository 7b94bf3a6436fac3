"""After a run: its replays against their schedule, the stress left out, and the report of a synthetic workload."""

from pathlib import Path

import polars as pl
import pytest

from storage.files import RunFiles, polars_schema
from storage.records import Attempt, Leg, Series
from tasks.fidelity import fidelity_of_run
from tasks.synthesise import Wish, synthesise_to
from tasks.workload.builtin import builtin
from tasks.workload.trace import write
from tests.fakes import records

MS = 1_000_000


def leg(leg_id: str, scheduled: int, series: str = Series.REPLAY, attempt: str = Attempt.FIRST) -> Leg:
    return records.leg(requests=scheduled, leg_id=leg_id, series=series, attempt=attempt, level=0, loop="open")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(tmp_path / "runs", "run")


def put(files: RunFiles, found: Leg, late_ms: float, stress: int = 0) -> None:
    """Rows 10 ms apart, each sent so late; and some of a stress that was sent a second late."""
    n = found.scheduled
    rows = {
        "leg_id": [found.leg_id] * (n + stress),
        "phase": ["measured"] * (n + stress),
        "stream_label": ["main"] * n + ["stress"] * stress,
        "intended_ns": [k * 10 * MS for k in range(n)] + [0] * stress,
        "sent_ns": [int((k * 10 + late_ms) * MS) for k in range(n)] + [1000 * MS] * stress,
    }
    schema = polars_schema()
    absent = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in rows]
    files.leg_folder(found.leg_id)
    frame = pl.DataFrame(rows).with_columns(absent).select(*schema).cast(dict(schema))
    frame.write_parquet(files.folder / found.leg_id / "part-0.parquet")
    files.write_leg(found)


def test_a_replay_is_held_against_its_schedule_without_the_stress_on_top(files, tmp_path):
    write(builtin(), tmp_path / "w.parquet")
    put(files, leg("first-replay-gw", 200), 0.5, stress=50)
    put(files, leg("confirm-replay-gw", 200, attempt=Attempt.CONFIRM), 500)
    put(files, leg("first-load-gw", 200, series=Series.LOAD), 500)
    (report,) = fidelity_of_run(files, tmp_path / "w.parquet", [])
    assert (report["about"], report["ok"], report["counts"]) == ("replay", True, (200, 200))
    assert files.read_fidelity()[0]["title"] == "replay against gw: 200 sent of 200 due, as recorded"


def test_a_replay_that_fell_behind_is_told(files, tmp_path):
    write(builtin(), tmp_path / "w.parquet")
    put(files, leg("first-replay-gw", 200), 300)
    (report,) = fidelity_of_run(files, tmp_path / "w.parquet", [])
    assert not report["ok"] and "not as recorded: arrival curve, KS 0.150" in report["title"]


def test_a_synthetic_workload_and_what_was_found_before_are_told_too(files, tmp_path):
    write(builtin(), tmp_path / "w.parquet")
    synthesise_to(tmp_path / "w.parquet", Wish(1), tmp_path / "like.parquet")
    put(files, leg("first-replay-gw", 200), 0.5)
    earlier = {"about": "new traffic", "ok": True, "title": "as before"}
    found = fidelity_of_run(files, tmp_path / "like.parquet", [earlier])
    assert [report["about"] for report in found] == ["new traffic", "workload", "replay"]
    assert found[1]["title"].startswith("builtin-synthetic-1 (240 requests) against builtin")


def test_a_run_without_a_replay_leaves_no_file(files, tmp_path):
    write(builtin(), tmp_path / "w.parquet")
    assert fidelity_of_run(files, tmp_path / "w.parquet", []) == [] and not files.fidelity.exists()
