"""How a leg goes while it goes, from the parts that its workers have closed so far: for whoever watches. It reads what
is on disk anyway, so that the workers do nothing for it."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from storage.records import Phase

WINDOW_S = 5.0
_COLUMNS = ("phase", "failure", "intended_ns", "sent_ns", "end_ns")


@dataclass(frozen=True, slots=True)
class Seen:
    """`rate_rps` and `lag_p99_ms` are of the last WINDOW_S seconds; None: too little was seen."""

    measured: int = 0
    failed: int = 0
    rate_rps: float | None = None
    lag_p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    rows: int
    from_ns: int
    to_ns: int
    lags_ns: "np.ndarray[tuple[int], np.dtype[np.int64]]"


class Pulse:
    """Of one leg's folder, which need not be there yet. Each part is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[str] = set()
        self._recent: deque[_Part] = deque()
        self._measured = self._failed = 0

    def look(self) -> Seen:
        """A part that cannot be read is left out: the leg itself will tell."""
        for path in sorted(self._folder.glob("part-*.parquet")):
            if path.name not in self._read:
                self._read.add(path.name)
                self._take(path)
        last = max((part.to_ns for part in self._recent), default=0)
        while self._recent and self._recent[0].to_ns < last - WINDOW_S * 1e9:
            self._recent.popleft()
        return Seen(self._measured, self._failed, self._rate(), self._lag())

    def _take(self, path: Path) -> None:
        try:
            rows = pl.read_parquet(path, columns=list(_COLUMNS), use_statistics=False)
        except (OSError, pl.exceptions.PolarsError):
            return
        measured = rows.filter(pl.col("phase") == Phase.MEASURED)
        self._measured += measured.height
        self._failed += measured.height - measured["failure"].null_count()
        if rows.height:
            ends = rows["end_ns"].to_numpy()
            lags = (measured["sent_ns"] - measured["intended_ns"]).drop_nulls().to_numpy()
            self._recent.append(_Part(rows.height, int(ends.min()), int(ends.max()), lags))

    def _rate(self) -> float | None:
        """Requests that ended, over the time in which they did."""
        rows = sum(part.rows for part in self._recent)
        span = max((p.to_ns for p in self._recent), default=0) - min((p.from_ns for p in self._recent), default=0)
        return (rows - 1) / (span / 1e9) if rows > 1 and span > 0 else None

    def _lag(self) -> float | None:
        lags = [part.lags_ns for part in self._recent if len(part.lags_ns)]
        return float(np.quantile(np.concatenate(lags), 0.99)) / 1e6 if lags else None
