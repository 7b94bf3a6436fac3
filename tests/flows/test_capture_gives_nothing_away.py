"""The command on a folder of mixed logs with secrets in every field: nothing of them on the screen, in the files it
writes, in Prefect's history or anywhere else under the home."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl

from tests.fakes.logs import SAMPLES, Sample
from tests.workload.test_secrets_nowhere import PLANTS

TRACES = {"mooncake", "aiperf", "burstgpt"}  # their times have no date, so they are captured apart
TELLING = [telling.encode() for _, telling in PLANTS.values()]


def kept_as_text(where: tuple[str | int, ...]) -> bool:
    """Places from which a key would refuse the whole capture: the model, under any of its names."""
    return "model" in str(where[-1]).lower() or where[-1] in ("Model", "litellm.model_group")


def rows(sample: Sample) -> list[dict]:
    plants = [plant for plant, _ in PLANTS.values()]
    places = [where for where in sample.leaves() if not kept_as_text(where)]
    planted = [sample.planted(where, plants[n % len(plants)]) for n, where in enumerate(places * 2)]
    return [sample.record, *planted, sample.record, sample.record]


def strings_in(path: Path) -> bytes:
    """What a file holds, as text where it is packed."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        raw += str((pl.read_parquet(path).rows(), pl.read_parquet_metadata(path))).encode()
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as book:
            for (table,) in book.sql("select table_name from information_schema.tables").fetchall():
                raw += str(book.table(table).fetchall()).encode()
    return raw


def test_nothing_of_them_is_on_the_screen_in_a_file_or_in_the_history(tmp_path):
    logs, home = tmp_path / "logs", tmp_path / "home"
    logs.mkdir()
    for name, sample in SAMPLES.items():
        if sample.format not in TRACES:
            (logs / f"{name}.log").write_bytes(sample.render(rows(sample)))
    (logs / "other.txt").write_text("\n".join(plant for plant, _ in PLANTS.values()))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GATEBENCH_", "PREFECT_"))}
    command = [
        "capture",
        str(logs),
        "--out",
        str(tmp_path / "out" / "w.parquet"),
        "--privacy",
        "structure",
        "--json",
        "-",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command, "--home", str(home)],
        cwd=Path(__file__).parents[2],
        env={**env, "GATEBENCH_SALT": "a salt of sixteen bytes"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["kept"] > 100
    assert told["rejects"] is not None
    assert [note for note in told["notes"] if "other.txt" in note]
    written = {"stdout": done.stdout, "stderr": done.stderr}
    written |= {str(p): strings_in(p) for p in tmp_path.rglob("*") if p.is_file() and logs not in p.parents}
    assert {Path(name).suffix for name in written} >= {".parquet", ".jsonl", ".db"}
    found = [(name, secret) for name, held in written.items() for secret in TELLING if secret in held]
    assert found == []
