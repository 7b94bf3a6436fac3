"""A workload: a named, hashed sequence of arrivals. Its id is the digest of its rows.

On disk it is a Parquet file, a column for each field of `storage.records.Arrival`, with the header as JSON in the
file's key-value metadata.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from storage.errors import GatebenchError, StorageError, UsageError
from storage.records import Arrival
from tasks.workload.ledger import Ledger
from tasks.workload.redact import refuse_secrets

FORMAT = "gatebench.workload/1"
SCHEMA: Mapping[str, pl.DataType] = {
    "offset_ns": pl.Int64(),
    "model": pl.String(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "max_output_tokens": pl.Int64(),
    "stream": pl.Boolean(),
    "session": pl.String(),
    "user": pl.String(),
    "first_token_ns": pl.Int64(),
    "duration_ns": pl.Int64(),
    "failure": pl.String(),
    "cache_hit": pl.Boolean(),
    "messages": pl.String(),
    "prefix_blocks": pl.List(pl.UInt32()),
}
LATER = ("prefix_blocks",)  # columns that older workloads lack; one without a value is no part of the id
REQUIRED = ("offset_ns", "model", "stream")
SPAN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
SPAN_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
UNITS_NS = {"ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A log the workload was captured from. The name without its folder."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """Where a workload comes from. Nothing in it enters the workload's id."""

    name: str
    formats: tuple[str, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    arrival_basis: str = ""  # which stamp the offsets are made of, with its time zone
    tokens: str = "exact"  # exact: as the log counts them; approximate: some are guessed from bytes; unknown: none told
    block_tokens: int | None = None  # tokens of one of `prefix_blocks`; None: the workload has no blocks
    resolution_ns: int | None = None  # the step that recorded arrivals fall on; None: too few to tell
    started_at: str | None = None  # of the first arrival as captured: ISO 8601, UTC
    span_ns: int = 0  # first to last arrival
    privacy: str = "counts"
    salt_id: str | None = None
    ledger: Ledger = field(default_factory=lambda: Ledger(0, 0))  # of the capture
    derived: tuple[str, ...] = ()  # what was done to it since: "window 0:10m", "speed 10"
    created_by: str = field(default_factory=lambda: f"gatebench {version('gatebench')}")
    parent: str | None = None  # of a synthetic workload: the id of the one it is like
    seed: int | None = None  # of a synthetic workload
    method: str | None = None  # of a synthetic workload, in words


@dataclass(frozen=True, slots=True)
class Workload:
    """Rows sorted by `offset_ns`, the columns of SCHEMA."""

    frame: pl.DataFrame
    header: Header

    @property
    def id(self) -> str:
        """SHA-256 of the rows, in hex. Computed at each call."""
        return digest(self.frame)

    def arrivals(self) -> Iterator[Arrival]:
        for row in self.frame.iter_rows():
            cells: Iterator[Any] = (tuple(value) if isinstance(value, list) else value for value in row)
            yield Arrival(*cells)

    def __len__(self) -> int:
        return self.frame.height


def from_arrivals(arrivals: Iterable[Arrival], header: Header) -> Workload:
    """A workload of arrivals in any order."""
    names = [f.name for f in fields(Arrival)]
    rows = [tuple(getattr(arrival, name) for name in names) for arrival in arrivals]
    return of_frame(pl.DataFrame(rows, schema=dict(SCHEMA), orient="row"), header)


def of_frame(frame: pl.DataFrame, header: Header) -> Workload:
    """Sorted so that equal sets of rows give equal ids, whatever order they came in."""
    frame = frame.select(*SCHEMA).sort(list(SCHEMA), nulls_last=True)
    return Workload(frame, replace(header, span_ns=_span(frame)))


def digest(frame: pl.DataFrame) -> str:
    """SHA-256 over each column's name, nulls and values (integers little-endian, texts with their lengths), so that it
    depends on no file format and no library version."""
    total = hashlib.sha256(f"{FORMAT}\0{frame.height}".encode())
    for name in SCHEMA:
        column = frame[name]
        if name in LATER and column.null_count() == len(column):
            continue
        total.update(f"\0{name}\0".encode())
        total.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            total.update(column.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy().astype("<i8").tobytes())
            for value in column:
                total.update(b"" if value is None else value.encode())
        elif column.dtype == pl.List:
            total.update(column.list.len().fill_null(0).cast(pl.Int64).to_numpy().astype("<i8").tobytes())
            total.update(column.drop_nulls().explode().drop_nulls().to_numpy().astype("<i8").tobytes())
        else:
            total.update(column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
    return total.hexdigest()


def write(workload: Workload, path: str | Path) -> str:
    """Written beside `path` and renamed, so that nobody ever reads half of it. The workload's id.

    Raises UsageError where something looks like a secret, StorageError where it cannot be written.
    """
    path = Path(path)
    refuse_secrets(_texts(workload))
    identity = workload.id
    header = orjson.dumps({"schema": FORMAT, "id": identity, **asdict(workload.header)}).decode()
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workload.frame.write_parquet(aside, metadata={"gatebench": header})
        aside.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        with suppress(OSError):
            aside.unlink()
        if "No space left" in str(error):
            raise StorageError(
                f"no space left to write the workload {path}; free space, or name another place"
            ) from error
        raise StorageError(f"cannot write the workload {path}: {error}") from error
    return identity


def read(path: str | Path) -> Workload:
    """Raises UsageError where there is no file, where it is no workload, or where it was changed since."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no workload at {path}; `gatebench capture LOG --out {path}` makes one")
    try:
        meta = pl.read_parquet_metadata(path).get("gatebench")
        raw = orjson.loads(meta) if meta else {}
    except (OSError, pl.exceptions.PolarsError, orjson.JSONDecodeError):
        raw = {}
    if not isinstance(raw, dict) or raw.get("schema") != FORMAT:
        raise UsageError(f"{path} is not a workload; `gatebench capture {path} --out W.parquet` makes one of a log")
    try:
        frame = pl.read_parquet(path)
        absent = [pl.lit(None, SCHEMA[name]).alias(name) for name in LATER if name not in frame.columns]
        workload = Workload(frame.with_columns(absent).select(*SCHEMA), _header(raw))
    except (OSError, pl.exceptions.PolarsError, KeyError, TypeError, GatebenchError) as error:
        raise UsageError(f"{path} is a damaged workload: {error}") from error
    if dict(workload.frame.schema) != dict(SCHEMA) or workload.id != raw.get("id"):
        raise UsageError(f"{path} was changed since it was written: its rows do not match its id; capture it again")
    return workload


def window(workload: Workload, text: str) -> Workload:
    """The part of it that `text` names: `10m` is the first ten minutes, `5m:15m` a range, `1h:` all from there.

    Offsets count from the start of the window. Raises UsageError if the text cannot be read or nothing lies in it.
    """
    start_ns, stop_ns = parse_window(text)
    inside = pl.col("offset_ns") >= start_ns
    if stop_ns is not None:
        inside &= pl.col("offset_ns") < stop_ns
    frame = workload.frame.filter(inside).with_columns(pl.col("offset_ns") - start_ns)
    if frame.is_empty():
        whole = _span(workload.frame) / 1e9
        raise UsageError(f"no arrival lies in the window {text!r}; the workload spans {whole:.1f} s")
    return Workload(frame, _derive(workload, frame, f"window {text}"))


def speed(workload: Workload, factor: float) -> Workload:
    """Offsets divided by `factor`: 2 plays twice as fast. Recorded durations stay as they were."""
    if not (math.isfinite(factor) and factor > 0):
        raise UsageError(f"speed must be a positive number, not {factor}")
    if factor == 1:
        return workload
    frame = workload.frame.with_columns((pl.col("offset_ns") / factor).round().cast(pl.Int64))
    return Workload(frame, _derive(workload, frame, f"speed {factor:g}"))


def parse_window(text: str) -> tuple[int, int | None]:
    """(from, to) in ns; to is None for an open end. Raises UsageError."""
    first, colon, second = text.strip().partition(":")
    if not colon:
        first, second = "0", first
    start_ns = _duration(first, text) if first else 0
    stop_ns = _duration(second, text) if second or not colon else None
    if stop_ns is not None and stop_ns <= start_ns:
        raise UsageError(f"the window {text!r} ends before it starts")
    return start_ns, stop_ns


def _duration(part: str, whole: str) -> int:
    part = part.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", part):
        part += "s"
    if not SPAN.fullmatch(part):
        raise UsageError(f"cannot read the window {whole!r}; write it like 30s, 10m, 0:10m or 1h:1h30m")
    return round(sum(float(number) * UNITS_NS[unit] for number, unit in SPAN_PART.findall(part)))


def _span(frame: pl.DataFrame) -> int:
    return 0 if frame.is_empty() else int(frame["offset_ns"][-1]) - int(frame["offset_ns"][0])


def _derive(workload: Workload, frame: pl.DataFrame, what: str) -> Header:
    return replace(workload.header, span_ns=_span(frame), derived=(*workload.header.derived, what))


def _header(raw: dict[str, Any]) -> Header:
    """Keys of a later version are left aside, those that an earlier one lacks are as they are by default."""
    kept = {f.name: raw[f.name] for f in fields(Header) if f.name in raw}
    kept["sources"] = tuple(SourceFile(**source) for source in raw["sources"])
    kept["formats"], kept["derived"] = tuple(raw["formats"]), tuple(raw["derived"])
    kept["ledger"] = Ledger(**raw["ledger"])
    return Header(**kept)


def _texts(workload: Workload) -> Iterator[tuple[str, str]]:
    """Every text that would be written, each once, with its place."""
    header = workload.header
    for place, text in [("the workload's name", header.name), *(("a source's name", s.name) for s in header.sources)]:
        yield place, text
    for name, dtype in SCHEMA.items():
        if dtype == pl.String:
            firsts = workload.frame.select(pl.col(name)).with_row_index("row").drop_nulls()
            for row, text in firsts.unique(name, keep="first", maintain_order=True).iter_rows():
                yield f"{name} in row {row + 1} of the workload", text
