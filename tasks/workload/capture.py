"""Logs -> workload: read, redact, merge in time, one arrival a call, every row accounted for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

import numpy as np
import polars as pl

from storage.errors import NothingMeasured, UsageError
from tasks.workload.formats.adapter import BLANK, Adapter, Drop, Line, Row
from tasks.workload.formats.detect import choose
from tasks.workload.ledger import Ledger, Reject
from tasks.workload.redact import check_level, redact, refuse_secrets, salt_id
from tasks.workload.sources import Source, expand
from tasks.workload.trace import SCHEMA, Header, SourceFile, Workload, of_frame

HEAD_LINES = 200  # looked at to tell the format
CHUNK_ROWS = 20_000
MOST_REJECTS = 100_000  # listed; the ledger counts all
LEAST_DISTINCT = 10  # offsets, below which a common divisor says nothing
STAGED: dict[str, pl.DataType] = {  # the index of the file, then the fields of Row
    "source": pl.Int64(),
    "line": pl.Int64(),
    "call_id": pl.String(),
    "start_ns": pl.Int64(),
    "end_ns": pl.Int64(),
    "first_token_ns": pl.Int64(),
    "model": pl.String(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "max_output_tokens": pl.Int64(),
    "stream": pl.Boolean(),
    "session": pl.String(),
    "user": pl.String(),
    "failure": pl.String(),
    "cache_hit": pl.Boolean(),
    "messages": pl.String(),
    "prefix_blocks": pl.List(pl.UInt32()),
    "approximate": pl.Boolean(),
}
NEVER_WRITTEN = ("call_id",)


@dataclass(frozen=True, slots=True)
class Captured:
    """`rejects`: the rows that could not be read, at most 100,000 of them; `ledger` counts every row."""

    workload: Workload
    ledger: Ledger
    rejects: tuple[Reject, ...]


@dataclass(slots=True)
class _Reading:
    """What has been read so far, over all sources."""

    privacy: str
    salt: bytes | None
    read: int = 0
    recognised: int = 0  # rows that were of the format, kept or not
    dropped: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    pending: list[tuple[object, ...]] = field(default_factory=list)
    chunks: list[pl.DataFrame] = field(default_factory=list)
    sources: list[SourceFile] = field(default_factory=list)
    adapters: dict[str, Adapter] = field(default_factory=dict)

    def take(self, index: int, where: str, record: Row | Drop) -> None:
        self.read += 1
        if isinstance(record, Row):
            self.recognised += 1
            self.pending.append((index, *redact(record, self.privacy, self.salt)))
            if len(self.pending) >= CHUNK_ROWS:
                self.flush()
            return
        self.dropped[record.reason] += 1
        self.recognised += not record.broken and record.reason != BLANK
        if record.broken and len(self.rejects) < MOST_REJECTS:
            self.rejects.append(Reject(where, record.line, record.reason))

    def flush(self) -> None:
        self.chunks.append(pl.DataFrame(self.pending, schema=STAGED, orient="row"))
        self.pending.clear()


def capture(
    sources: Sequence[str | Path],
    *,
    format: str = "auto",
    privacy: str = "counts",
    salt: bytes | None = None,
    name: str | None = None,
) -> Captured:
    """Read logs (files, folders, globs; plain or gzip), merged in time, into one workload.

    Nothing is written. Raises UsageError (no such file, unknown format, a secret in what would be kept) and
    NothingMeasured (no request in the logs).
    """
    check_level(privacy, salt)
    files = expand(sources)
    reading = _Reading(privacy, salt)
    for index, path in enumerate(files):
        _read_file(reading, index, path, format)
    reading.flush()
    staged = _blocks_apart(pl.concat(reading.chunks))
    _refuse_nothing(reading, staged.height, files)
    refuse_secrets(_texts(staged, files))
    merged = _one_row_a_call(staged)
    reading.dropped["duplicate call id"] += staged.height - merged.height
    ledger = Ledger.of(reading.read, merged.height, reading.dropped)
    header = _header(reading, merged, ledger, name or files[0].name.split(".")[0])
    return Captured(of_frame(_arrivals(merged), header), ledger, tuple(reading.rejects))


def _read_file(reading: _Reading, index: int, path: Path, format: str) -> None:
    source = Source(path)
    lines = source.lines()
    head = list(_head(lines))
    if head or format != "auto":
        adapter = choose(format, [line for _, line in head], str(path))
        reading.adapters[adapter.name] = adapter
        last = 0
        for record in adapter.read(chain(head, lines)):
            last = record.line
            reading.take(index, str(path), record)
        if source.cut:
            reading.take(index, str(path), Drop(last + 1, "the gzip stream is damaged from here on", broken=True))
    reading.sources.append(SourceFile(path.name, source.sha256, source.size))


def _head(lines: Iterator[Line]) -> Iterator[Line]:
    """The first lines, and no more than some megabytes of them."""
    size = 0
    for number, line in islice(lines, HEAD_LINES):
        yield number, line
        size += len(line)
        if size > 4_000_000:
            return


def _refuse_nothing(reading: _Reading, kept: int, files: Sequence[Path]) -> None:
    where = ", ".join(str(path) for path in files)
    if kept:
        return
    if reading.rejects and reading.recognised == 0:
        first = reading.rejects[0]
        formats = ", ".join(reading.adapters)
        raise UsageError(f"{where}: no row can be read as {formats}; {first.source}: line {first.line}: {first.reason}")
    if not reading.read:
        raise NothingMeasured(f"{where}: empty, there is nothing to capture")
    raise NothingMeasured(f"{where}: no chat request in it: {Ledger.of(reading.read, 0, reading.dropped).in_words()}")


def _texts(staged: pl.DataFrame, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Every text that may be written, each once, with the line it first stands in."""
    for path in files:
        yield "a file name", path.name
    for name, dtype in STAGED.items():
        if dtype == pl.String and name not in NEVER_WRITTEN:
            for source, line, text in (
                staged.select("source", "line", name)
                .drop_nulls()
                .unique(name, keep="first", maintain_order=True)
                .iter_rows()
            ):
                yield f"{files[source]}: line {line}: {name}", text


def _blocks_apart(staged: pl.DataFrame) -> pl.DataFrame:
    """Each source numbers its blocks from 0; equal numbers of two sources are two blocks."""
    most = staged.group_by("source").agg(pl.col("prefix_blocks").list.max().max().alias("most")).sort("source")
    if most["most"].drop_nulls().len() < 2:
        return staged
    first = most.select("source", (pl.col("most").fill_null(0) + 1).cum_sum().shift(1, fill_value=0).alias("first"))
    moved = staged.join(first, on="source", maintain_order="left")
    return (
        moved.with_columns(pl.col("prefix_blocks") + pl.col("first"))
        .cast({"prefix_blocks": pl.List(pl.UInt32())})
        .drop("first")
    )


def _one_row_a_call(staged: pl.DataFrame) -> pl.DataFrame:
    """Rows that share a call id are retries and fallbacks of one request: its earliest start, the group that was asked
    (that of the attempt that failed first; a fallback may carry an earlier stamp), and the outcome of the success, or
    of the last failure where there is none."""
    twice = pl.col("call_id").is_not_null() & pl.col("call_id").is_duplicated()
    several = staged.filter(twice)
    if several.is_empty():
        return staged
    ok, end = pl.col("failure").is_null(), pl.col("end_ns").fill_null(pl.col("start_ns"))
    asked = [ok, end, pl.col("source"), pl.col("line")]
    outcome = [~ok, -end, pl.col("source"), pl.col("line")]

    def first(name: str, order: list[pl.Expr], *, skip_nulls: bool = False) -> pl.Expr:
        column = pl.col(name).sort_by(order)
        return (column.drop_nulls() if skip_nulls else column).first()

    merged = several.group_by("call_id").agg(
        pl.col("start_ns").min(),
        *(first(name, outcome) for name in ("source", "line", "end_ns", "first_token_ns", "output_tokens")),
        *(first(name, outcome) for name in ("failure", "cache_hit", "approximate")),
        first("model", asked),
        first("input_tokens", outcome, skip_nulls=True),
        *(
            first(name, asked, skip_nulls=True)
            for name in ("max_output_tokens", "stream", "session", "user", "messages", "prefix_blocks")
        ),
    )
    return pl.concat([staged.filter(~twice), merged.select(*STAGED)])


def _arrivals(merged: pl.DataFrame) -> pl.DataFrame:
    """Stamps become offsets from the first arrival; a stream flag nobody logged is False."""
    return merged.select(
        (pl.col("start_ns") - pl.col("start_ns").min()).alias("offset_ns"),
        "model",
        "input_tokens",
        "output_tokens",
        "max_output_tokens",
        pl.col("stream").fill_null(False),
        "session",
        "user",
        (pl.col("first_token_ns") - pl.col("start_ns")).alias("first_token_ns"),
        (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns"),
        "failure",
        "cache_hit",
        "messages",
        "prefix_blocks",
    ).select(*SCHEMA)


def _header(reading: _Reading, merged: pl.DataFrame, ledger: Ledger, name: str) -> Header:
    start_ns = merged["start_ns"].to_numpy()
    first_us = int(start_ns.min()) // 1000
    seconds, rest = divmod(first_us, 1_000_000)
    return Header(
        name=name,
        formats=tuple(sorted(reading.adapters)),
        sources=tuple(sorted(reading.sources, key=lambda source: (source.name, source.sha256))),
        arrival_basis="; ".join(sorted(adapter.arrival_basis for adapter in reading.adapters.values())),
        tokens=_token_basis(merged),
        block_tokens=_block_tokens(reading.adapters.values(), merged),
        resolution_ns=resolution(start_ns),
        started_at=datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat(),
        privacy=reading.privacy,
        salt_id=None if reading.salt is None or reading.privacy == "counts" else salt_id(reading.salt),
        ledger=ledger,
    )


def _token_basis(merged: pl.DataFrame) -> str:
    """`Header.tokens` of these rows."""
    if merged.select(pl.all_horizontal(pl.col("input_tokens", "output_tokens").is_null()).all()).item():
        return "unknown"
    return "approximate" if merged["approximate"].any() else "exact"


def _block_tokens(adapters: Iterable[Adapter], merged: pl.DataFrame) -> int | None:
    """Raises UsageError where blocks of two sizes would stand in one workload."""
    sizes = sorted({size for a in adapters if (size := getattr(a, "block_tokens", None)) is not None})
    if merged["prefix_blocks"].null_count() == merged.height:
        return None
    if len(sizes) > 1:
        raise UsageError(f"the logs have prefix blocks of {' and '.join(map(str, sizes))} tokens; capture them apart")
    return sizes[0] if sizes else None


def resolution(start_ns: np.ndarray) -> int | None:
    """The largest step that every arrival falls on, counted from the first one; None below ten distinct arrivals."""
    distinct = np.unique(start_ns)
    if len(distinct) < LEAST_DISTINCT:
        return None
    return int(np.gcd.reduce(np.diff(distinct)))
