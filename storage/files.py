"""Where a run's samples, manifest, charts and report lie, and how they are read back.

runs/<run_id>/run.json  report.html  charts/  <leg_id>/part-*.parquet  <leg_id>/leg.json
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TypeVar

import polars as pl

from storage.disk import WriteText, make_folder, trouble, write_aside, write_synced
from storage.errors import StorageError, UsageError
from storage.records import SAMPLE_COLUMNS, Health, Leg, Run, Worker, to_json

T = TypeVar("T")
RUN_SCHEMA = "gatebench.run/1"
FIDELITY_SCHEMA = "gatebench.fidelities/1"
TYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "f64": pl.Float64(),
    "bool": pl.Boolean(),
    "list[u32]": pl.List(pl.UInt32()),
}


def polars_schema() -> pl.Schema:
    """SAMPLE_COLUMNS with Polars types, in order."""
    return pl.Schema({name: TYPES[kind] for name, kind in SAMPLE_COLUMNS.items()})


def new_run_id(flow: str, now: datetime, rng: Random | None = None) -> str:
    """Sorts by time and does not repeat within a second, as in 20261124T082149Z-nightly-4f3a."""
    tail = (rng or SystemRandom()).randrange(16**4)
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{flow}-{tail:04x}"


def leg_from_json(raw: dict[str, Any]) -> Leg:
    """A leg of this or a later version: fields that we do not know are left out."""
    workers = [{**_known(Worker, one), "health": _health(one["health"])} for one in raw.get("workers", [])]
    known = {**_known(Leg, raw), "health": _health(raw["health"]), "workers": [Worker(**one) for one in workers]}
    return Leg(**known)


def _health(raw: dict[str, Any] | None) -> Health | None:
    return None if raw is None else Health(**_known(Health, raw))


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The folder of one run. `write` is how a text reaches the disk."""

    runs_path: Path
    run_id: str
    write: WriteText = write_synced

    def __post_init__(self) -> None:
        _one_name(self.run_id)

    @property
    def folder(self) -> Path:
        return self.runs_path / self.run_id

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def manifest(self) -> Path:
        return self.folder / "run.json"

    @property
    def fidelity(self) -> Path:
        return self.folder / "fidelity.json"

    def charts_folder(self) -> Path:
        """Made if it is not there, like every folder here."""
        return make_folder(self.folder / "charts")

    def leg_folder(self, leg_id: str) -> Path:
        return make_folder(self.folder / _one_name(leg_id))

    def samples(self, leg_id: str = "*") -> pl.LazyFrame:
        """All rows of all legs or of one, closed or not, with the columns of SAMPLE_COLUMNS; no rows if nothing was
        sent.

        Raises StorageError for a part that was cut off.
        """
        schema = polars_schema()
        parts = sorted(self.folder.glob(f"{leg_id}/part-*.parquet"))
        if not parts:
            return pl.LazyFrame(schema=schema)
        for part in parts:
            _whole(part)
        return pl.scan_parquet(parts, schema=schema, missing_columns="insert", extra_columns="ignore", glob=False)

    def legs(self) -> list[Leg]:
        """The closed legs, in the order they ran. Raises StorageError for a leg.json that cannot be read."""
        legs = [_read(file, leg_from_json) for file in self.folder.glob("*/leg.json")]
        return sorted(legs, key=lambda leg: (leg.started_at, leg.leg_id))

    def begun(self) -> list[str]:
        """Legs that have rows on disk or were closed, in order of their names."""
        found = {file.parent.name for kind in ("part-*", "leg.json") for file in self.folder.glob(f"*/{kind}")}
        return sorted(found)

    def set_aside(self, leg_id: str) -> int:
        """What there is of a leg that is to be measured again goes to `unfinished-<n>` in its folder, where no reader
        of the run takes it for rows of the new one. How many rows that are. Raises StorageError."""
        folder = self.folder / _one_name(leg_id)
        rows = self.samples(leg_id).select(pl.len()).collect().item()
        aside = folder / f"unfinished-{len(list(folder.glob('unfinished-*'))):d}"
        try:
            aside.mkdir(mode=0o700)
            for file in [*folder.glob("part-*"), *folder.glob("ended-*"), *folder.glob("leg.json*")]:
                file.rename(aside / file.name)
        except OSError as error:
            raise trouble(error, aside) from error
        return int(rows)

    def write_leg(self, leg: Leg) -> Path:
        """Close a leg: its parts are on disk before this is written."""
        path = self.folder / _one_name(leg.leg_id) / "leg.json"
        write_aside(path, _text(to_json(leg)), self.write)
        return path

    def write_run(self, run: Run) -> Path:
        """The manifest, from which the book can be rebuilt."""
        write_aside(self.manifest, _text({"schema": RUN_SCHEMA, **to_json(run)}), self.write)
        return self.manifest

    def write_fidelity(self, reports: list[dict[str, Any]]) -> Path:
        """How true the run's replays were, and how like their sources its workloads are."""
        write_aside(self.fidelity, _text({"schema": FIDELITY_SCHEMA, "reports": reports}), self.write)
        return self.fidelity

    def read_fidelity(self) -> list[dict[str, Any]]:
        """[] for a run without any."""
        return _read(self.fidelity, lambda raw: list(raw["reports"])) if self.fidelity.is_file() else []

    def read_run(self) -> Run:
        return _read(self.manifest, lambda raw: Run(**_known(Run, raw)))


def _read(file: Path, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise trouble(error, file) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{file} cannot be read ({error}); remove it, or take it back from a backup") from error


def _known(record: Any, raw: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(record)}
    return {name: value for name, value in raw.items() if name in names}


def _text(raw: dict[str, Any]) -> str:
    return json.dumps(raw, indent=1, allow_nan=False) + "\n"


def _one_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise UsageError(f"{name!r} cannot be a folder under runs/; use letters, digits, dots and dashes")
    return name


def _whole(part: Path) -> None:
    """A Parquet file ends in PAR1; one that does not was cut off in the middle."""
    try:
        with part.open("rb") as file:
            file.seek(-4, 2)
            end = file.read(4)
    except OSError:
        end = b""
    if end != b"PAR1":
        raise StorageError(f"{part} was cut off or is no Parquet file; move it away, its leg counts as not closed")
