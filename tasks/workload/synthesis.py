"""A workload and a seed -> a workload like it, that never was. Pure; the same seed gives the same bytes.

The rate curve stays, the gaps are resampled in blocks inside a window, and the requests keep their joint rows:

1. The source's time is cut into windows of 10 s (of a sixtieth where that is less; as long as hold 24 arrivals on
   average where that is more) on a grid that the seed moves. A window with k arrivals has k + 1 gaps, from its own
   start to its own end. They are cut into blocks of four, and the blocks are put in a new order: every gap is used once
   (resampling without replacement), each window keeps its count, and a burst keeps most of its inner shape. One
   distribution fitted to a whole trace does far worse.
2. Rows (model, tokens in, tokens out, cap, stream, recorded times) stay whole and change places with rows of the same
   six windows: shuffled further, the load in tokens a minute would lose the drift that it has in a real trace.
3. With `sessions` the unit is a session: its start takes part in 1 and 2, and its turns keep their distances from it.

Only `Random.random` is drawn from, whose sequence Python keeps from version to version.
"""

import math
from dataclasses import replace
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import NothingMeasured, UsageError
from tasks.workload.trace import Workload, of_frame

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOW_NS = 10 * 10**9
LEAST_WINDOWS = 60  # of a short workload, where they can hold enough
PER_WINDOW = 24
BLOCK = 4
ROW_WINDOWS = 6
METHOD = f"rate curve, gaps in blocks of {BLOCK} inside a window, joint rows"


def synthesise(
    source: Workload,
    seed: int,
    *,
    duration_ns: int | None = None,
    rate_scale: float = 1.0,
    sessions: bool | None = None,
    name: str | None = None,
) -> Workload:
    """A synthetic workload with the source's rate curve, gaps and rows.

    `duration_ns`: the source is cut to it, or repeated up to it, before. `rate_scale`: independent copies on top of
    each other, and one of them thinned to the fraction that is left, as more or fewer users would make. `sessions`:
    keep them; None keeps them where the source has any. Raises UsageError and, without two arrivals, NothingMeasured.
    """
    _check(rate_scale, duration_ns)
    base = reference(source, duration_ns)
    keep = bool(base.frame["session"].count()) if sessions is None else sessions
    rng = Random(seed)
    whole, rest = divmod(rate_scale, 1.0)
    copies = [_resampled(base.frame, rng, keep) for _ in range(int(whole))]
    if rest > 1e-9:
        copies.append(thin(_resampled(base.frame, rng, keep), rest, rng))
    frame = superpose(copies)
    if frame.is_empty():
        raise UsageError(f"a rate scale of {rate_scale} leaves no request of {len(base)}; use a larger one")
    scaled = "" if rate_scale == 1 else f", rate × {rate_scale:g} by superposition and thinning"
    kept = ", sessions kept" if keep and base.frame["session"].count() else ""
    return _named(source, frame, seed, METHOD + kept + scaled, name)


def at_starts(source: Workload, starts_ns: list[int], seed: int, method: str, name: str | None = None) -> Workload:
    """The source's rows at other starts, for what-if: each row as often as any other, in a seeded order. There are no
    sessions in it: their turns would not be where they belong. Raises UsageError without starts."""
    if not starts_ns or source.frame.is_empty():
        raise UsageError("no starts, or no rows for them: ask for a rate and a duration that hold a request")
    rows = balanced(source.frame.height, len(starts_ns), Random(seed))
    frame = source.frame[rows].with_columns(
        offset_ns=pl.Series(np.asarray(starts_ns, dtype=np.int64)), session=pl.lit(None, dtype=pl.String)
    )
    return _named(source, frame, seed, method, name)


def reference(source: Workload, duration_ns: int | None) -> Workload:
    """The source from its first arrival on, cut at a duration or repeated up to it: what a synthetic workload of that
    duration is like. Repeats follow after the mean gap, with sessions of their own."""
    frame = source.frame
    if frame.height < 2:
        raise NothingMeasured(f"{source.header.name!r} has fewer than two arrivals: nothing can be made of it")
    first = int(frame["offset_ns"][0])
    span = int(frame["offset_ns"][-1]) - first
    period = span + max(span // (frame.height - 1), 1)
    limit = period if duration_ns is None else duration_ns
    frame = frame.with_columns(pl.col("offset_ns") - first)
    rounds = [_shifted(frame, k * period, k) for k in range(-(-limit // period))]
    cut = pl.concat(rounds).filter(pl.col("offset_ns") < limit)
    return Workload(cut, replace(source.header, span_ns=int(cut["offset_ns"][-1])))


def thin(frame: pl.DataFrame, share: float, rng: Random) -> pl.DataFrame:
    """A share of the requests, sessions whole, so that the mix of models stays: a systematic sample with a random start
    over the units in the order of their models (Cochran, Sampling Techniques, chapter 8)."""
    units = _units(frame, sessions=True)
    models = frame["model"].to_numpy()[_firsts(units)]
    order = np.lexsort((_draw(rng, len(models)), models.astype(str)))
    marks = np.floor(np.arange(1, len(models) + 1) * share + rng.random())
    kept = np.zeros(len(models), dtype=bool)
    kept[order] = np.diff(marks, prepend=0.0) > 0
    return frame.filter(pl.Series(kept[units]))


def superpose(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """All requests of all frames, each frame with sessions of its own."""
    return pl.concat([_shifted(frame, 0, k) for k, frame in enumerate(frames)]) if frames else pl.DataFrame()


def balanced(rows: int, wanted: int, rng: Random) -> Ints:
    """Indices of rows, each as often as any other up to one, in random order (the balanced bootstrap of Davison,
    Hinkley & Schechtman, Biometrika 1986)."""
    whole, rest = divmod(wanted, rows)
    some = np.argsort(_draw(rng, rows), kind="stable")[:rest]
    every = np.concatenate((np.tile(np.arange(rows), whole), some))
    return every[np.argsort(_draw(rng, len(every)), kind="stable")]


def resample_gaps(starts_ns: Ints, period_ns: int, rng: Random) -> Ints:
    """As many starts in [0, period_ns], in order: blocks of gaps permuted inside each window. Starts sorted, from 0."""
    edges = _grid(len(starts_ns), period_ns, rng)
    window = np.searchsorted(edges, starts_ns, side="right") - 1
    # a window's points are its left edge and its starts; a gap belongs to the point on its left
    points = np.concatenate((edges[:-1], starts_ns))
    of = np.concatenate((np.arange(len(edges) - 1), window))
    order = np.lexsort((np.arange(len(points)), of))  # within a window the edge comes first, then starts as they are
    points, of = points[order], of[order]
    ends = np.where(np.diff(of, append=len(edges) - 1) > 0, edges[of + 1], np.roll(points, -1))
    gaps = ends - points
    first = np.searchsorted(of, np.arange(len(edges) - 1), side="left")
    place = np.arange(len(of)) - first[of]
    turn = np.floor(_draw(rng, len(edges) - 1) * BLOCK).astype(np.int64)  # where the first cut falls
    block = (place + turn[of]) // BLOCK
    blocks = of * (int(block.max()) + 1) + block
    distinct, inverse = np.unique(blocks, return_inverse=True)
    shuffled = gaps[np.lexsort((place, _draw(rng, len(distinct))[inverse], of))]
    # running sums from each window's left edge; the last point of a window is its right edge, and no start
    sums = np.cumsum(shuffled)
    last = np.append(first[1:], len(of)) - 1
    inside = np.ones(len(of), dtype=bool)
    inside[last] = False
    return np.asarray(sums[inside] + edges[0], dtype=np.int64)


def _resampled(frame: pl.DataFrame, rng: Random, sessions: bool) -> pl.DataFrame:
    """One copy of the frame with new starts and rows in other places."""
    offsets = frame["offset_ns"].to_numpy()
    units = _units(frame, sessions)
    firsts = _firsts(units)
    starts = offsets[firsts]
    period = int(offsets[-1]) + max(int(offsets[-1]) // max(len(offsets) - 1, 1), 1)
    new_starts = resample_gaps(starts, period, rng)
    near = starts // (_window_ns(len(starts), period) * ROW_WINDOWS)
    # place k of the new starts goes to unit who[k], which lay in the same stretch of the source
    who = np.lexsort((_draw(rng, len(starts)), near))
    given = np.empty(len(starts), dtype=np.int64)
    given[who] = new_starts
    moved = offsets - starts[units] + given[units]
    out = frame.with_columns(offset_ns=pl.Series(moved))
    if not sessions:
        out = out.with_columns(session=pl.lit(None, dtype=pl.String))
    return out.sort("offset_ns", maintain_order=True)


def _units(frame: pl.DataFrame, sessions: bool) -> Ints:
    """For each row the number of its unit, units numbered by their first row: a session, or a request without one."""
    if not sessions:
        return np.arange(frame.height)
    row = pl.col("row").cast(pl.Int64)
    first = pl.when(pl.col("session").is_null()).then(row).otherwise(row.min().over("session"))
    rows = frame.select("session").with_row_index("row")
    return rows.select(first.rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()


def _firsts(units: Ints) -> Ints:
    """Index of the first row of each unit."""
    return np.unique(units, return_index=True)[1]


def _grid(starts: int, period_ns: int, rng: Random) -> Ints:
    """Window edges from 0 to the period, on a grid that the seed moves."""
    width = _window_ns(starts, period_ns)
    inner = np.arange(int(rng.random() * width), period_ns, width, dtype=np.int64)
    return np.unique(np.concatenate(([0], inner, [period_ns])))


def _window_ns(starts: int, period_ns: int) -> int:
    return max(min(WINDOW_NS, period_ns // LEAST_WINDOWS), PER_WINDOW * period_ns // starts, 1)


def _draw(rng: Random, n: int) -> Floats:
    return np.fromiter((rng.random() for _ in range(n)), dtype=np.float64, count=n)


def _shifted(frame: pl.DataFrame, by_ns: int, copy: int) -> pl.DataFrame:
    """A later copy of a frame; the sessions of a second one are others than those of the first."""
    renamed = pl.col("session") if copy == 0 else pl.format("{}~{}", "session", pl.lit(copy + 1))
    return frame.with_columns(pl.col("offset_ns") + by_ns, session=renamed)


def _named(source: Workload, frame: pl.DataFrame, seed: int, method: str, name: str | None) -> Workload:
    header = replace(
        source.header,
        name=name or f"{source.header.name}-synthetic-{seed}",
        formats=("synthetic",),
        arrival_basis=f"synthetic, seed {seed}: {method}",
        resolution_ns=1,
        started_at=None,
        parent=source.id,
        seed=seed,
        method=method,
    )
    return of_frame(frame, header)


def _check(rate_scale: float, duration_ns: int | None) -> None:
    if not (math.isfinite(rate_scale) and rate_scale > 0):
        raise UsageError(f"the rate scale must be a number above 0, not {rate_scale}")
    if duration_ns is not None and duration_ns <= 0:
        raise UsageError("the duration must be above 0")
