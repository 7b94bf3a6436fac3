"""Samples -> Parquet parts, as they finish.

A row is packed into one flat buffer when it is added (about 1 µs); a thread turns the buffer into a part every
`flush_s` or PART_ROWS rows, written aside and renamed, so that a part is whole or not there. Building a frame from
Python tuples instead would hold the interpreter for tens of milliseconds in the middle of a measurement.
"""

import asyncio
import shutil
import struct
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import polars as pl

from storage.errors import StorageError
from storage.records import SAMPLE_COLUMNS, Sample

PART_ROWS = 20_000
MOST_WAITING = 120  # parts, of a second each or full; a disk so far behind would take the memory next
FULL_BYTES = 1_000_000  # free: no more than a part or two
_NULL = -(2**63)
_LONGEST_GAP = np.uint64(2**32 - 1)  # of a column of gaps: 71 minutes in µs; a longer one stands as this
_TYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "f64": pl.Float64(),
    "bool": pl.Boolean(),
    "list[u32]": pl.List(pl.UInt32()),
}
SCHEMA = {name: _TYPES[kind] for name, kind in SAMPLE_COLUMNS.items()}
# request_id differs in every row and gaps are lists: these two have buffers of their own.
_APART = ("request_id", "chunk_gaps_us")


def _kept_as(kind: str) -> list[str]:
    return [name for name in Sample._fields if name not in _APART and SAMPLE_COLUMNS[name] == kind]


_TEXT = _kept_as("str")  # as the number of the text
_MILLI = _kept_as("f64")  # as thousandths
_NUMBERS = [name for name in Sample._fields if name not in (*_APART, *_TEXT, *_MILLI)]
_PACKED = [*_NUMBERS, *_TEXT, *_MILLI]
_PACK = struct.Struct(f"<{len(_PACKED)}q")


def _getter(names: list[str]) -> Callable[[Sample], tuple[Any, ...]]:
    if len(names) == 1:
        at = Sample._fields.index(names[0])
        return lambda sample: (sample[at],)
    return itemgetter(*(Sample._fields.index(name) for name in names))


_numbers, _texts, _millis = _getter(_NUMBERS), _getter(_TEXT), _getter(_MILLI)

Write = Callable[[pl.DataFrame, Path], None]


def write_part(frame: pl.DataFrame, path: Path) -> None:
    """Written aside and renamed."""
    aside = path.with_suffix(".tmp")
    try:
        frame.write_parquet(aside, compression="zstd", compression_level=1, statistics=False)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


class Sink:
    """Rows of one leg. `constants` are the columns that are the same in all of them; `stem` begins the parts' names."""

    def __init__(
        self,
        folder: Path,
        constants: dict[str, str | int],
        *,
        flush_s: float = 1.0,
        write: Write = write_part,
        stem: str = "part",
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._folder = folder
        self._constants = constants
        self._flush_ns = int(flush_s * 1e9)
        self._write = write
        self._most_waiting = most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._pending: list[Future[None]] = []
        self._stem = stem
        self._parts = _first_free(folder, stem)
        self._last_flush = perf_counter_ns()
        self._timer: asyncio.TimerHandle | None = None
        self.rows = 0
        self._reset()

    def _reset(self) -> None:
        self._codes: dict[str | None, int] = {None: _NULL}  # of this part's texts: a gateway may name ever new ones
        self._buffer = bytearray()
        self._gaps = array("Q")
        self._gap_counts = array("q")  # -1: no list at all
        self._ids: list[str | None] = []

    def add(self, sample: Sample) -> None:
        """Keep one row. Raises StorageError when an earlier part could not be written."""
        codes = self._codes
        row = [_NULL if value is None else value for value in _numbers(sample)]
        try:
            row += [codes[text] for text in _texts(sample)]
        except KeyError:
            row += [codes.setdefault(text, len(codes) - 1) for text in _texts(sample)]
        row += [_NULL if value is None else round(value * 1000) for value in _millis(sample)]
        self._buffer += _PACK.pack(*row)
        gaps = sample.chunk_gaps_us
        if gaps is None:
            self._gap_counts.append(-1)
        else:
            self._gap_counts.append(len(gaps))
            self._gaps.extend(gaps)
        self._ids.append(sample.request_id)
        self.rows += 1
        if len(self._ids) >= PART_ROWS or perf_counter_ns() - self._last_flush >= self._flush_ns:
            self.flush()

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush by the loop's timer too: a row must not wait for a next one that may be long in coming."""
        if perf_counter_ns() - self._last_flush >= 0.9 * self._flush_ns:
            self._hand_over()
            self._pending = [f for f in self._pending if not f.done() or f.exception() is not None]
            if any(f.done() for f in self._pending) or len(self._pending) > self._most_waiting:
                self._last_flush = 0  # a part could not be written: the next row is told
        self._timer = loop.call_later(max(0.005, self._flush_ns / 1e10), self.follow, loop)

    def flush(self) -> None:
        """Hand what there is to the writing thread. Raises StorageError when an earlier part could not be written, or
        when so many wait that the disk must be standing still."""
        for done in [f for f in self._pending if f.done()]:
            _raise(done, self._folder)  # one that failed stays pending, so that `close` says it as well
            self._pending.remove(done)
        self._hand_over()
        if len(self._pending) > self._most_waiting:
            raise StorageError(
                f"cannot write samples to {self._folder} as fast as they come: {len(self._pending)} parts wait; "
                "set GATEBENCH_HOME to a disk that keeps up"
            )

    def _hand_over(self) -> None:
        self._last_flush = perf_counter_ns()
        if not self._ids:
            return
        path = self._folder / f"{self._stem}-{self._parts:05d}.parquet"
        self._parts += 1
        texts = [text for text in self._codes if text is not None]
        args = (bytes(self._buffer), self._gaps, self._gap_counts, self._ids, texts, path)
        self._pending.append(self._thread.submit(self._part, *args))
        self._reset()

    def close(self) -> None:
        """Write the rest and wait for it."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._hand_over()
            for future in self._pending:
                _raise(future, self._folder)
        finally:
            self._thread.shutdown(wait=True)

    def _part(
        self,
        buffer: bytes,
        gaps: "array[int]",
        counts: "array[int]",
        ids: list[str | None],
        texts: list[str],
        path: Path,
    ) -> None:
        self._write(to_frame(buffer, to_lists(gaps, counts), ids, texts, self._constants), path)


def to_lists(flat: "array[int]", counts: "array[int]") -> pl.Series:
    """Lists of whole numbers that lie end to end in `flat`, as a column; a count of -1: null. Native all the way:
    Python lists would hold the interpreter."""
    lengths = np.frombuffer(counts, np.int64)
    ends = np.cumsum(np.maximum(lengths, 0))
    at = pl.DataFrame({"from": ends - np.maximum(lengths, 0), "count": lengths})
    values = pl.Series(np.minimum(np.frombuffer(flat, np.uint64), _LONGEST_GAP).astype(np.uint32), dtype=pl.UInt32)
    cut = pl.lit(values).implode().list.slice(pl.col("from"), pl.max_horizontal("count", 0))
    return at.select(pl.when(pl.col("count") >= 0).then(cut)).to_series()


def to_frame(
    buffer: bytes,
    gaps: pl.Series,
    ids: Sequence[str | None],
    texts: list[str],
    constants: dict[str, str | int],
) -> pl.DataFrame:
    """The packed rows as a frame with every column of the sample log."""
    table = np.ascontiguousarray(np.frombuffer(buffer, "<i8").reshape(-1, len(_PACKED)).T)
    words = pl.Series(texts, dtype=pl.String)
    columns: dict[str, pl.Series] = {}
    for k, name in enumerate(_PACKED):
        values = pl.Series(name, table[k])
        values = values.set(values == _NULL, None) if (table[k] == _NULL).any() else values
        if name in _TEXT:
            columns[name] = words.gather(values) if values.null_count() < len(values) else values.cast(pl.String)
        elif name in _MILLI:
            columns[name] = values / 1000
        else:
            columns[name] = values.cast(SCHEMA[name])
    columns["request_id"] = pl.Series(ids, dtype=pl.String)
    columns["chunk_gaps_us"] = gaps
    frame = pl.DataFrame({name: series.alias(name) for name, series in columns.items()})
    return frame.with_columns(pl.lit(value).cast(SCHEMA[name]).alias(name) for name, value in constants.items()).select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


def _first_free(folder: Path, stem: str) -> int:
    """The number after the highest one that is there: no part is ever written over."""
    return 1 + max((int(part.stem.rpartition("-")[2]) for part in folder.glob(f"{stem}-*.parquet")), default=-1)


def _raise(future: "Future[None]", folder: Path) -> None:
    error = future.exception()
    if error is not None:
        # Of a disk that is full in the middle of a footer Polars only says that the Parquet is odd.
        why = f"no space left ({error})" if _is_full(folder) else error
        raise StorageError(
            f"cannot write samples to {folder}: {why}; free some space or set another GATEBENCH_HOME"
        ) from error


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False
