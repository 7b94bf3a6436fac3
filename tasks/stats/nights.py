"""Gate rows -> arrays of nights. The only place where the gate touches a frame."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
JUDGED = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
ERRORS = "errors"
CONTROL_METRIC = "latency_p50"


@dataclass(frozen=True, slots=True)
class Cell:
    """One (series, metric, level) of a target: y over the nights of history (nan: not measured), tonight, confirmed.

    y is the logarithm, throughput negated, so that up is worse. For `errors` the y are shares and `n` the requests.
    """

    series: str
    metric: str
    level: int
    past: Floats
    past_n: Floats
    tonight: float
    tonight_n: float
    again: float
    again_n: float

    @property
    def address(self) -> tuple[str, str, int]:
        return self.series, self.metric, self.level


@dataclass(frozen=True, slots=True)
class Nights:
    targets: dict[str, list[Cell]]
    count: int
    control_past: Floats  # deviation of the control from its usual self, a night; nan: not measured
    control_tonight: float
    control_again: float

    def carried(self, target: str) -> "Carried":
        """These nights as what a later segment of the target carries over."""
        return Carried({cell.address: cell.past for cell in self.targets.get(target, [])}, self.control_past)


@dataclass(frozen=True, slots=True)
class Carried:
    """Nights of the segment before: they say how much a cell spreads, not where it lies."""

    past: dict[tuple[str, str, int], Floats] = field(default_factory=dict)  # series, metric, level -> y
    control_past: Floats = field(default_factory=lambda: np.empty(0))

    def of(self, cell: Cell) -> Floats:
        """nan throughout: nothing is carried for this cell."""
        return self.past.get(cell.address, np.full(len(self.control_past), np.nan))


def arrange(history: pl.DataFrame, tonight: pl.DataFrame, confirm: pl.DataFrame | None, control: str | None) -> Nights:
    """Pivot the three frames once; rows may be in any order."""
    rows = _rows(history)
    nights = {night: k for k, night in enumerate(sorted({row[0] for row in rows}))}
    past: dict[tuple[str, str, str, int], tuple[Floats, Floats]] = {}
    for night, target, series, level, metric, value, n in rows:
        key = (target, series, metric, level)
        if key not in past:
            past[key] = (np.full(len(nights), np.nan), np.full(len(nights), np.nan))
        past[key][0][nights[night]] = _y(metric, value, n)
        past[key][1][nights[night]] = n
    now = {(t, s, m, lv): (_y(m, v, n), n) for _, t, s, lv, m, v, n in _rows(tonight)}
    again = {(t, s, m, lv): (_y(m, v, n), n) for _, t, s, lv, m, v, n in _rows(confirm)} if confirm is not None else {}
    empty = np.full(len(nights), np.nan)
    targets: dict[str, list[Cell]] = {}
    for key in sorted(past.keys() | now.keys()):
        target, series, metric, level = key
        if target == control or metric not in (*JUDGED, ERRORS):
            continue
        y, n = past.get(key, (empty, empty))
        y1, n1 = now.get(key, (np.nan, np.nan))
        y2, n2 = again.get(key, (np.nan, np.nan))
        targets.setdefault(target, []).append(Cell(series, metric, level, y, n, y1, n1, y2, n2))
    levels = [key for key in past.keys() | now.keys() if key[0] == control and key[2] == CONTROL_METRIC]
    usual = {key: float(np.nanmean(past[key][0])) for key in levels if key in past and not np.isnan(past[key][0]).all()}
    moved = np.array([past[key][0] - usual[key] for key in usual]) if usual else np.full((1, len(nights)), np.nan)
    return Nights(
        targets,
        len(nights),
        _column_means(moved),
        _mean([now[key][0] - usual[key] for key in usual if key in now]),
        _mean([again[key][0] - usual[key] for key in usual if key in again]),
    )


Row = tuple[int, str, str, int, str, float | None, float]


def _rows(frame: pl.DataFrame) -> list[Row]:
    """A frame without columns has no rows either."""
    return frame.select("night", "target", "series", "level", "metric", "value", "n").rows() if frame.width else []


def _y(metric: str, value: float | None, n: float) -> float:
    if value is None:
        return np.nan
    if metric == ERRORS:
        return value / n if n else np.nan
    if value <= 0:
        return np.nan
    return -float(np.log(value)) if metric == "throughput" else float(np.log(value))


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else np.nan


def _column_means(table: Floats) -> Floats:
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
