"""Samples -> Parquet parts, as they finish.

A row is packed into one flat buffer when it is added (about 2 µs); a thread turns the buffer into a part every
`flush_s` or PART_ROWS rows, written aside and renamed, so that a part is whole or not there. Building a frame from
Python tuples instead would hold the interpreter for tens of milliseconds in the middle of a measurement.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import polars as pl

from storage.errors import StorageError
from storage.records import SAMPLE_COLUMNS, Sample

PART_ROWS = 20_000
_NULL = -(2**63)
_TYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "f64": pl.Float64(),
    "bool": pl.Boolean(),
    "list[u32]": pl.List(pl.UInt32()),
}
SCHEMA = {name: _TYPES[kind] for name, kind in SAMPLE_COLUMNS.items()}
# request_id differs in every row and gaps are lists: these two are kept as Python objects.
_OBJECTS = ("request_id", "chunk_gaps_us")
_PACKED = [name for name in Sample._fields if name not in _OBJECTS]
_TEXT = {name for name in _PACKED if SAMPLE_COLUMNS[name] == "str"}
_MILLI = {name for name in _PACKED if SAMPLE_COLUMNS[name] == "f64"}  # kept as thousandths
_WIDTH = len(_PACKED)
_PACK = struct.Struct(f"<{_WIDTH}q")
_PACKED_AT = [Sample._fields.index(name) for name in _PACKED]
_TEXT_AT = [k for k, name in enumerate(_PACKED) if name in _TEXT]
_MILLI_AT = [k for k, name in enumerate(_PACKED) if name in _MILLI]
_NUMBERS_AT = [k for k in range(_WIDTH) if k not in _TEXT_AT and k not in _MILLI_AT]
_GAPS_AT = Sample._fields.index("chunk_gaps_us")
_ID_AT = Sample._fields.index("request_id")

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
    """Rows of one leg. `constants` are the columns that are the same in all of them."""

    def __init__(
        self,
        folder: Path,
        constants: dict[str, str | int],
        *,
        flush_s: float = 1.0,
        write: Write = write_part,
    ) -> None:
        self._folder = folder
        self._constants = constants
        self._flush_ns = int(flush_s * 1e9)
        self._write = write
        self._codes: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._pending: list[Future[None]] = []
        self._parts = len(list(folder.glob("part-*.parquet"))) if folder.is_dir() else 0
        self._last_flush = perf_counter_ns()
        self._timer: asyncio.TimerHandle | None = None
        self.rows = 0
        self._reset()

    def _reset(self) -> None:
        self._buffer = bytearray()
        self._gaps: list[list[int] | None] = []
        self._ids: list[str | None] = []

    def add(self, sample: Sample) -> None:
        """Keep one row. Raises StorageError when an earlier part could not be written."""
        row: list[int] = []
        codes = self._codes
        for position, at in enumerate(_PACKED_AT):
            value = sample[at]
            if value is None:
                row.append(_NULL)
            elif position in _TEXT_SET:
                code = codes.get(value)  # type: ignore[arg-type]
                if code is None:
                    code = codes[value] = len(codes)  # type: ignore[index]
                row.append(code)
            elif position in _MILLI_SET:
                row.append(round(float(value) * 1000))  # type: ignore[arg-type]
            else:
                row.append(value)  # type: ignore[arg-type]
        self._buffer += _PACK.pack(*row)
        self._gaps.append(sample.chunk_gaps_us)
        self._ids.append(sample.request_id)
        self.rows += 1
        if len(self._ids) >= PART_ROWS or perf_counter_ns() - self._last_flush >= self._flush_ns:
            self.flush()

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush by the loop's timer too: a row must not wait for a next one that may be long in coming."""
        if perf_counter_ns() - self._last_flush >= 0.9 * self._flush_ns:
            self._hand_over()
        self._timer = loop.call_later(max(0.005, self._flush_ns / 1e10), self.follow, loop)

    def flush(self) -> None:
        """Hand what there is to the writing thread. Raises StorageError when an earlier part could not be written."""
        for done in [f for f in self._pending if f.done()]:
            _raise(done, self._folder)  # one that failed stays pending, so that `close` says it as well
            self._pending.remove(done)
        self._hand_over()

    def _hand_over(self) -> None:
        self._last_flush = perf_counter_ns()
        if not self._ids:
            return
        path = self._folder / f"part-{self._parts:05d}.parquet"
        self._parts += 1
        texts = list(self._codes)
        args = (bytes(self._buffer), self._gaps, self._ids, texts, path)
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
        gaps: Sequence[list[int] | None],
        ids: Sequence[str | None],
        texts: list[str],
        path: Path,
    ) -> None:
        self._write(to_frame(buffer, gaps, ids, texts, self._constants), path)


_TEXT_SET = frozenset(_TEXT_AT)
_MILLI_SET = frozenset(_MILLI_AT)


def to_frame(
    buffer: bytes,
    gaps: Sequence[list[int] | None],
    ids: Sequence[str | None],
    texts: list[str],
    constants: dict[str, str | int],
) -> pl.DataFrame:
    """The packed rows as a frame with every column of the sample log."""
    table = np.ascontiguousarray(np.frombuffer(buffer, "<i8").reshape(-1, _WIDTH).T)
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
    columns["chunk_gaps_us"] = pl.Series(gaps, dtype=pl.List(pl.UInt32))
    frame = pl.DataFrame({name: series.alias(name) for name, series in columns.items()})
    return frame.with_columns(pl.lit(value).cast(SCHEMA[name]).alias(name) for name, value in constants.items()).select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


def _raise(future: "Future[None]", folder: Path) -> None:
    error = future.exception()
    if error is not None:
        raise StorageError(
            f"cannot write samples to {folder}: {error}; free some space or set another GATEBENCH_HOME"
        ) from error
