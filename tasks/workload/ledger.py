"""Where every row of a log went: rows read = rows kept + rows dropped by reason, or the capture fails."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from storage.errors import GatebenchError, StorageError


class Reject(NamedTuple):
    """A row that could not be read. Never its content: that may hold secrets."""

    source: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of rows. Raises GatebenchError if they do not add up."""

    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lost = self.read - self.kept - sum(self.dropped.values())
        if lost:
            raise GatebenchError(
                f"the row ledger does not close: {self.read} rows read, {self.kept} kept, "
                f"{sum(self.dropped.values())} dropped, {lost} unaccounted for; please report this"
            )

    @classmethod
    def of(cls, read: int, kept: int, dropped: Counter[str]) -> "Ledger":
        return cls(read, kept, {reason: n for reason, n in sorted(dropped.items()) if n})

    def in_words(self) -> str:
        """`300 rows read = 296 kept + 4 dropped (3 duplicate call id, 1 not JSON)`"""
        gone = sum(self.dropped.values())
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(self.dropped.items(), key=lambda item: -item[1]))
        return f"{self.read:,} row{'s' if self.read != 1 else ''} read = {self.kept:,} kept + {gone:,} dropped" + (
            f" ({why})" if why else ""
        )


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """One JSON object a line: source, line, reason. Raises StorageError."""
    try:
        with path.open("wb") as file:
            for reject in rejects:
                file.write(orjson.dumps(reject._asdict()) + b"\n")
    except OSError as error:
        raise StorageError(f"cannot write the rejects to {path}: {error}") from error
