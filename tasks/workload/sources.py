"""Log files: which ones a user meant, and their lines, with flat memory."""

import codecs
import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from storage.errors import UsageError
from tasks.workload.formats.adapter import Line

LONGEST_LINE = 64 * 1024 * 1024
ENDINGS = (".jsonl", ".ndjson", ".json", ".log", ".txt", ".csv")


def expand(sources: Sequence[str | Path]) -> list[Path]:
    """The files behind paths, folders (their logs, not those of folders below) and globs, each once.

    Raises UsageError where one leads to nothing.
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
        found = sorted(p for p in path.iterdir() if p.is_file() and p.name.removesuffix(".gz").endswith(ENDINGS))
        if not found:
            raise UsageError(f"no log in the folder {source}; logs end in {', '.join(ENDINGS)} or these with .gz")
        return found
    if path.exists():
        return [path]
    found = sorted(Path(p) for p in glob.glob(str(source), recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute patterns too
    if not found:
        raise UsageError(f"no such log: {source}")
    return found


class Source:
    """One log file, plain or gzip, read once. `sha256` and `size` are those of the file as it lies on disk, known
    when `lines` has ended; `cut` says that a gzip stream was damaged, so that lines are missing from its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""
        self.size = 0
        self.cut = False

    def lines(self) -> Iterator[Line]:
        """Numbered lines without their ends. A line over 64 MB comes cut to that. Raises UsageError if unreadable."""
        try:
            with self.path.open("rb", buffering=0) as file:
                hashed = _Hashed(file)
                raw = io.BufferedReader(hashed, 1 << 20)
                packed = raw.peek(2)[:2] == b"\x1f\x8b"
                yield from self._numbered(gzip.GzipFile(fileobj=raw) if packed else raw)
                while raw.read(1 << 20):  # what follows a damaged gzip stream belongs to the digest
                    pass
                self.sha256, self.size = hashed.digest.hexdigest(), hashed.size
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


class _Hashed(io.RawIOBase):
    """Hands bytes through and counts them into a digest, so that a large file is read once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = cast(io.RawIOBase, file)
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        n = self.file.readinto(buffer)
        if n:
            self.digest.update(buffer[:n])
            self.size += n
        return n
