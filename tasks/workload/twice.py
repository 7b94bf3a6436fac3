"""Is the same traffic in two logs? A proxy and the gateway behind it both write down every request, and no id tells
that two rows are one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.workload.steps import resolution
from tasks.workload.trace import SourceFile

NEAR_NS = (20_000_000, 50_000_000, 100_000_000, 200_000_000)  # from a proxy's stamp to that of the gateway behind it
SHIFTS_S = (7, 13, 29, 61)  # the logs held against each other at another time: what chance alone brings near
MOST_CHANCE = 0.6  # above it nearness tells nothing
BEYOND_CHANCE = 0.5  # of what chance leaves alone
LEAST = 50  # rows, below which nobody can tell
Ints = NDArray[np.int64]


def notes(merged: pl.DataFrame, formats: Mapping[int, str], sources: Sequence[SourceFile]) -> Iterator[str]:
    """A sentence for each pair of formats that seem to tell of the same requests, and of files that are the same.

    `formats`: of each file, by its number in the column `source`; `merged` has one row a request.
    """
    seen: dict[str, str] = {}
    for file in sources:
        if file.size and file.sha256 in seen:
            yield f"{file.name} and {seen[file.sha256]} are the same file: what has no call id in them counts twice"
        seen.setdefault(file.sha256, file.name)
    starts = {
        name: merged.filter(pl.col("source").is_in(_files(formats, name)))["start_ns"].sort().to_numpy()
        for name in sorted(set(formats.values()))
    }
    for one, other in combinations(starts, 2):
        fewer, more = sorted((one, other), key=lambda name: len(starts[name]))
        shared = together(starts[fewer], starts[more])
        if shared is not None:
            yield (
                f"{shared:.0%} of the requests in {fewer} come together with one in {more}: if both logs are of the "
                "same traffic it counts twice; capture only one of them"
            )


def _files(formats: Mapping[int, str], name: str) -> list[int]:
    return [number for number, format in formats.items() if format == name]


def together(fewer: Ints, more: Ints) -> float | None:
    """Share of the first that has one of the second near by; None where chance alone would explain it."""
    if len(fewer) < LEAST or len(more) < LEAST:
        return None
    steps = [step for step in (resolution(fewer), resolution(more)) if step is not None]
    for near in NEAR_NS:
        within = max(near, *steps) if steps else near
        share = _near(fewer, more, within)
        chance = max(_near(fewer + sign * shift * 10**9, more, within) for shift in SHIFTS_S for sign in (1, -1))
        if chance <= MOST_CHANCE and share - chance >= BEYOND_CHANCE * (1 - chance):
            return share
    return None


def _near(fewer: Ints, more: Ints, near_ns: int) -> float:
    at = np.searchsorted(more, fewer)
    after = np.abs(more[np.minimum(at, len(more) - 1)] - fewer)
    before = np.abs(more[np.maximum(at - 1, 0)] - fewer)
    return float((np.minimum(after, before) <= near_ns).mean())
