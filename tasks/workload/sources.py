"""Log files: which ones a user meant, and their lines, with flat memory."""

import codecs
import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, cast

import orjson
import polars as pl
import zstandard

from storage.errors import UsageError
from tasks.workload.formats.adapter import Line

LONGEST_LINE = 64 * 1024 * 1024
READ = 1 << 20
GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
PARQUET_ROWS = 10_000  # at a time


class NoLog(UsageError):
    """A file that no capture can be made of."""


def expand(sources: Sequence[str | Path]) -> list[Path]:
    """The files behind paths, folders (their files, not those of folders below, and none that is hidden) and globs,
    each once. Raises UsageError where one leads to nothing.
    """
    files: dict[Path, Path] = {}
    for source in sources:
        for path in _meant(source):
            files.setdefault(path.resolve(), path)
    if not files:
        raise UsageError("no log to read: name a file, a folder or a glob")
    return list(files.values())


def _meant(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if not found:
            raise UsageError(
                f"no log in the folder {source}; name the folder that holds the files, or a glob like DIR/**"
            )
        return found
    if path.exists():
        return [path]
    found = sorted(Path(p) for p in glob.glob(str(source), recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute patterns too
    if not found:
        raise UsageError(f"no such log: {source}")
    return found


class Source:
    """One log file, plain, gzip, zstd or Parquet, read once. `sha256` and `size` are those of the file as it lies on
    disk, known when `lines` has ended; `cut` says that what is packed was damaged, so that lines are missing from its
    end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""
        self.size = 0
        self.cut = False

    def lines(self) -> Iterator[Line]:
        """Numbered lines without their ends; the rows of a Parquet file as JSON. A line over 64 MB comes cut to that.

        Raises UsageError if the file cannot be read, NoLog if it is a workload or a damaged Parquet file.
        """
        try:
            with self.path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as beside:
                hashed = _Hashed(file, beside)
                raw = io.BufferedReader(hashed, READ)
                start = raw.peek(4)[:4]
                table = start == PARQUET and _ends_as_parquet(file)
                yield from _rows_of_parquet(self.path) if table else self._numbered(_unpacked(raw, start))
                while raw.read(READ):  # what follows damage, or was read by others, belongs to the digest
                    pass
                self.sha256, self.size = hashed.hexdigest(), hashed.size
        except OSError as error:
            raise UsageError(f"cannot read the log {self.path}: {error.strerror or error}") from error

    def _numbered(self, stream: io.BufferedIOBase) -> Iterator[Line]:
        number = 0
        try:
            while line := stream.readline(LONGEST_LINE):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                rest = line
                while not rest.endswith(b"\n") and (rest := stream.readline(LONGEST_LINE)):
                    pass
                yield number, line.rstrip(b"\r\n")
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.cut = True


def _ends_as_parquet(file: IO[bytes]) -> bool:
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - len(PARQUET), 0))
    end = file.read(len(PARQUET))
    file.seek(at)
    return end == PARQUET and size > 2 * len(PARQUET)


def _unpacked(raw: "io.BufferedReader[_Hashed]", start: bytes) -> io.BufferedIOBase:
    if start[:2] == GZIP:
        return gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(_Zstd(raw), READ) if start == ZSTD else raw


def _rows_of_parquet(path: Path) -> Iterator[Line]:
    """Each row as a JSON object; binary columns are left out."""
    try:
        if "gatebench" in pl.read_parquet_metadata(path):
            raise NoLog(f"{path} is a workload already, it needs no capture")
        scan = pl.scan_parquet(path)
        names = [name for name, dtype in scan.collect_schema().items() if dtype not in (pl.Binary, pl.Object)]
        first = 0
        while (part := scan.select(names).slice(first, PARQUET_ROWS).collect()).height:
            for number, row in enumerate(part.iter_rows(named=True), first + 1):
                yield number, orjson.dumps(row, default=_as_json, option=orjson.OPT_NON_STR_KEYS)
            first += part.height
    except pl.exceptions.PolarsError as error:
        raise NoLog(f"{path} is a damaged Parquet file: {error}") from error


def _as_json(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


class _Zstd(io.RawIOBase):
    """Unpacks frame after frame. Raises EOFError where one is damaged, or the file ends inside it, as gzip does."""

    def __init__(self, packed: "io.BufferedReader[_Hashed]") -> None:
        self.packed = packed
        self.ready = b""
        self.frame: Any = None  # None: between two frames
        self.damaged = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self.ready:
            data = b"" if self.damaged else self.packed.read1(READ // 8)
            if not data:
                if self.frame is not None:
                    raise EOFError
                return 0
            self.ready = self._unpack(data)
        n = min(len(buffer), len(self.ready))
        buffer[:n], self.ready = self.ready[:n], self.ready[n:]
        return n

    def _unpack(self, data: bytes) -> bytes:
        out = []
        while data:
            self.frame = self.frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                out.append(self.frame.decompress(data))
            except zstandard.ZstdError:
                self.damaged = True
                break
            data = self.frame.unused_data if self.frame.eof else b""
            if self.frame.eof:
                self.frame = None
        return b"".join(out)


class _Hashed(io.RawIOBase):
    """Hands bytes through and counts them into a digest, so that a large file is read once. The digest is computed in a
    thread, which hashing does not hold back: at most one buffer is waiting for it."""

    def __init__(self, file: IO[bytes], beside: ThreadPoolExecutor) -> None:
        self.file = cast(io.RawIOBase, file)
        self.beside = beside
        self.size = 0
        self._digest = hashlib.sha256()
        self._busy: Future[None] | None = None

    def hexdigest(self) -> str:
        if self._busy is not None:
            self._busy.result()
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        n = self.file.readinto(buffer)
        if n:
            if self._busy is not None:
                self._busy.result()
            self._busy = self.beside.submit(self._digest.update, bytes(buffer[:n]))
            self.size += n
        return n
