"""Log files -> redacted rows in frames, and an account of every row that is not among them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from storage.errors import UsageError
from tasks.workload.formats.adapter import BLANK, Adapter, Drop, Line, Row
from tasks.workload.formats.detect import UnknownFormat, choose
from tasks.workload.formats.mapped import Mapped
from tasks.workload.ledger import Reject
from tasks.workload.prefixes import Numbers, chained
from tasks.workload.redact import harmless, is_name_of_model, redact
from tasks.workload.sources import NoLog, Source
from tasks.workload.trace import SourceFile

HEAD_LINES = 2000  # looked at to tell the format
HEAD_BYTES = 4_000_000
CHUNK_ROWS = 20_000
MOST_REJECTS = 100_000  # listed; the ledger counts all
MOST_REASONS = 200  # told apart
STAGED: dict[str, pl.DataType] = {  # the index of the file, then the fields of Row
    "source": pl.Int64(),
    "line": pl.Int64(),
    "start_ns": pl.Int64(),
    "model": pl.String(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "call_id": pl.String(),
    "end_ns": pl.Int64(),
    "first_token_ns": pl.Int64(),
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


class Skipped(NamedTuple):
    """A file that was left aside, and why."""

    path: Path
    why: str


@dataclass(slots=True)
class Reading:
    """What has been read so far, over all sources."""

    privacy: str
    salt: bytes | None
    read: int = 0
    recognised: int = 0  # rows that were of the format, kept or not
    unordered: int = 0  # rows that start before one above them in their file
    own_blocks: bool = False  # blocks that a log did not number itself
    dropped: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    pending: list[tuple[object, ...]] = field(default_factory=list)
    chunks: list[pl.DataFrame] = field(default_factory=list)
    sources: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    adapters: dict[str, Adapter] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # of models whose name is not kept
    numbers: Numbers = field(default_factory=Numbers)
    formats: dict[int, str] = field(default_factory=dict)  # of each file

    def file(self, index: int, path: Path, format: str, table: Mapped | None) -> None:
        """Read one file; one of no known format is left aside. Raises UsageError where it cannot be read."""
        source = Source(path)
        lines = source.lines()
        try:
            head = list(_head(lines))
            adapter = None if not head and format == "auto" else _adapter(table, format, head, path)
        except (UnknownFormat, NoLog) as error:
            self.skipped.append(Skipped(path, str(error)))
            return
        if not head and source.cut:
            self.skipped.append(Skipped(path, f"{path} is packed, and damaged from its beginning"))
            return
        if adapter is not None:
            self.adapters[adapter.name] = adapter
            self.formats[index] = adapter.name
            self._records(index, str(path), adapter.read(chain(head, lines)), source)
        self.sources.append(SourceFile(harmless(path.name), source.sha256, source.size))

    def frame(self) -> pl.DataFrame:
        """All rows, the columns of STAGED."""
        self._flush()
        return pl.concat(self.chunks)

    def _records(self, index: int, where: str, records: Iterable[Row | Drop], source: Source) -> None:
        last, latest_ns = 0, 0
        for record in records:
            last = record.line
            if isinstance(record, Row):
                self.unordered += record.start_ns < latest_ns
                latest_ns = max(latest_ns, record.start_ns)
                self._keep(index, record)
            else:
                self._drop(where, record)
        if source.cut:
            self._drop(where, Drop(last + 1, "the packed file is damaged from here on", broken=True))

    def _keep(self, index: int, row: Row) -> None:
        self.read += 1
        self.recognised += 1
        kept = redact(row, self.privacy, self.salt)._replace(model=self._model(row.model))
        self.pending.append((index, *kept[:-2], self._blocks(index, row), row.approximate))
        if len(self.pending) >= CHUNK_ROWS:
            self._flush()

    def _blocks(self, index: int, row: Row) -> list[int] | None:
        """Those that the log numbers; else, where more than counts may be kept, those of the prompt."""
        if row.prefix_blocks is not None:
            return self.numbers.of((index, block) for block in row.prefix_blocks)
        if self.privacy == "counts" or self.salt is None or row.messages is None:
            return None
        self.own_blocks = True
        return self.numbers.of(chained(row.messages, self.salt))

    def _model(self, name: str) -> str:
        if is_name_of_model(name):
            return name
        return self.labels.setdefault(name, f"model-{len(self.labels) + 1}")

    def _drop(self, where: str, drop: Drop) -> None:
        self.read += 1
        self.recognised += not drop.broken and drop.reason != BLANK
        self.lose(where, drop)

    def lose(self, where: str, drop: Drop) -> None:
        """Account for a row that was read and is not kept."""
        reason = harmless(drop.reason, "for a reason that looks like a secret")
        if len(self.dropped) >= MOST_REASONS and reason not in self.dropped:
            reason = "for other reasons"
        self.dropped[reason] += 1
        if drop.broken and len(self.rejects) < MOST_REJECTS:
            self.rejects.append(Reject(where, drop.line, reason))

    def _flush(self) -> None:
        self.chunks.append(pl.DataFrame(self.pending, schema=STAGED, orient="row"))
        self.pending.clear()


def _adapter(table: Mapped | None, format: str, head: list[Line], path: Path) -> Adapter:
    lines = [line for _, line in head]
    if table is None:
        return choose(format, lines, str(path))
    if not table.recognises(lines):
        raise UsageError(f"{path} is no table: neither JSON lines, CSV with a header nor Parquet; --map names columns")
    table.check(lines, str(path))
    return table


def _head(lines: Iterator[Line]) -> Iterator[Line]:
    """The first lines, and no more than some megabytes of them."""
    size = 0
    for number, line in islice(lines, HEAD_LINES):
        yield number, line
        size += len(line)
        if size > HEAD_BYTES:
            return
