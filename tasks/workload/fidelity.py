"""How far one workload is from another, each distance beside what the source shows against itself.

`compare` holds a copy (a synthetic workload, a new day) against its source, `sent_against_due` a replay against its
schedule. A measure is outside where it lies beyond its limit and beyond its noise floor; where a source differs from
itself by more than the limit and by more than from its copy, nobody can tell.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import NothingMeasured
from tasks.workload.distances import Facts, Ints, distances, facts_of, ks
from tasks.workload.timing import SCALES_S
from tasks.workload.trace import Workload

PIECES = 60  # of the source, for its halves
SPLITS = 20
MANY = 200_000  # rows, above which there are fewer splits
LEAST = 40  # arrivals in each half, below which there is no floor
SAME_SPAN = 1.25  # rate and curve of workloads whose lengths differ by more are not either: an hour is no day
SAME_RATE = 1.1  # gaps of streams whose rates differ by more than this factor are not held to a limit
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "rate_ratio": (0.8, 1.25),
    "arrival_ks": (None, 0.05),
    "gap_ks": (None, 0.10),
    **{f"dispersion_{scale}s": (0.7, 1.4) for scale in SCALES_S},
    "joint_ks": (None, 0.03),
    "mix_distance": (None, 0.02),
    "input_load_60s": (None, None),
    "output_load_60s": (None, None),
}
REPLAY_KS = 0.01


@dataclass(frozen=True, slots=True)
class Measure:
    """One distance. `lower` and `upper`: its limits; both None where it is shown and not judged. `floor`: the same
    between halves of the source, see `noise_floors`. `ok` None: not judged, or nobody can tell."""

    name: str
    value: float
    lower: float | None
    upper: float | None
    floor: float | None

    @property
    def inside(self) -> bool:
        """Within its limits."""
        return (self.lower is None or self.value >= self.lower) and (self.upper is None or self.value <= self.upper)

    @property
    def ok(self) -> bool | None:
        if self.lower is None and self.upper is None:
            return None
        return True if self.inside else None if self._within_noise() else False

    @property
    def unsure(self) -> bool:
        """Beyond its limit, and the source's own noise is as large: nobody can tell."""
        return not self.inside and self._within_noise()

    def _within_noise(self) -> bool:
        if self.floor is None:
            return False
        if self.lower is None:
            return self.value <= self.floor + 1e-9
        return self.value > 0 and _from_one(self.value) <= _from_one(self.floor)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """`kind`: copy or replay. `counts`: requests of the source and of the copy; due and sent. `notes`: what was not
    compared, and why."""

    kind: str
    source: str
    copy: str
    counts: tuple[int, int]
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(measure.ok is not False for measure in self.measures)


def compare(source: Workload, copy: Workload, *, rate_scale: float = 1.0) -> Fidelity:
    """Every measure of the copy against its source. `rate_scale`: how many times the source's rate it was made for.

    Raises NothingMeasured where one of them has fewer than two arrivals.
    """
    a, b = facts_of(source.frame), facts_of(copy.frame)
    for workload, facts in ((source, a), (copy, b)):
        if len(facts.offsets) < 2 or facts.offsets[-1] == 0:
            raise NothingMeasured(f"{workload.header.name!r} has no two arrivals apart: nothing can be compared")
    floors = noise_floors(source.frame)
    found = dict(distances(a, b, rate_scale))
    same_rate = 1 / SAME_RATE <= found["rate_ratio"] * rate_scale <= SAME_RATE
    same_span = 1 / SAME_SPAN <= b.offsets[-1] / a.offsets[-1] <= SAME_SPAN
    measures, notes = [], []
    for name in (name for name in LIMITS if name in found):
        dispersed, of_time = name.startswith("dispersion"), name in ("rate_ratio", "arrival_ks")
        unjudged = (
            (dispersed and name not in floors)
            or (of_time and not same_span)
            or ((dispersed or name == "gap_ks") and not same_rate)
        )
        lower, upper = (None, None) if unjudged else LIMITS[name]
        measures.append(Measure(name, found[name], lower, upper, floors.get(name)))
    if not same_span:
        spans = f"{a.offsets[-1] / 1e9:,.0f} s and {b.offsets[-1] / 1e9:,.0f} s"
        notes.append(f"they are of different length ({spans}), so rate and arrival curve are shown and not judged")
    if not same_rate:
        notes.append("the rates differ, so gaps and dispersion are shown and not judged")
    short = [f"{s} s" for s in SCALES_S if f"dispersion_{s}s" not in found or f"dispersion_{s}s" not in floors]
    if short:
        notes.append(f"too short to judge the dispersion at {', '.join(short)}")
    if not floors:
        notes.append(f"fewer than {2 * LEAST} requests in the source: no noise floor")
    return Fidelity(
        "copy", source.header.name, copy.header.name, (len(source), len(copy)), tuple(measures), tuple(notes)
    )


def sent_against_due(due_ns: Ints, sent_ns: Ints, expected: int, name: str = "replay") -> Fidelity:
    """A replay: when its requests were due and when they were sent, in ns from the same instant, row by row;
    `expected`: how many the schedule held. The KS distance (`ks`) of the two must be at most 0.01 or, in a workload
    that comes in volleys, at most the largest share due within one millisecond, which nobody can send at once."""
    if not len(due_ns):
        raise NothingMeasured("the replay sent nothing: there is nothing to compare")
    lags = np.maximum(sent_ns - due_ns, 0) / 1e6
    volley = float(np.unique(due_ns // 1_000_000, return_counts=True)[1].max() / len(due_ns))
    measures = (
        Measure("count_ratio", len(sent_ns) / expected, 1.0, 1.0, None),
        Measure("arrival_ks", ks(due_ns, sent_ns), None, REPLAY_KS, volley),
        Measure("lag_p50_ms", float(np.quantile(lags, 0.5)), None, None, None),
        Measure("lag_p99_ms", float(np.quantile(lags, 0.99)), None, None, None),
        Measure("lag_max_ms", float(lags.max()), None, None, None),
    )
    return Fidelity("replay", name, "as sent", (expected, len(sent_ns)), measures)


def noise_floors(frame: pl.DataFrame) -> dict[str, float]:
    """What every distance is between two halves of one source: the source is cut into 60 pieces of equal time, 30 of
    them drawn make one half and the rest the other, each closed up in order. Of 20 such splits the largest distance is
    taken (of a ratio the one farthest from 1): two samples of one traffic differ by less in 19 cases of 20, and by less
    than that as these halves have half the size. Fewer splits where there are more than 200,000 rows; none, and an
    empty dict, where a half has fewer than 40 arrivals."""
    floors: dict[str, float] = {}
    for even, odd in _splits(facts_of(frame)):
        for name, value in distances(even, odd, 1.0):
            known = floors.get(name)
            if known is None or _farther(name, value, known):
                floors[name] = value
    return floors


def _splits(facts: Facts) -> Iterator[tuple[Facts, Facts]]:
    n = len(facts.offsets)
    if n < 2 * LEAST:
        return
    width = int(facts.offsets[-1]) // PIECES + 1
    piece, inside = np.divmod(facts.offsets, width)
    rng = Random(PIECES)
    for _ in range(max(2, min(SPLITS, SPLITS * MANY // n))):
        mine = np.isin(np.arange(PIECES), sorted(range(PIECES), key=lambda _: rng.random())[: PIECES // 2])
        halves = [_closed_up(facts, piece, inside, chosen, width) for chosen in (mine, ~mine)]
        if min(len(half.offsets) for half in halves) >= LEAST and all(half.offsets[-1] > 0 for half in halves):
            yield halves[0], halves[1]


def _closed_up(facts: Facts, piece: Ints, inside: Ints, chosen: NDArray[np.bool_], width: int) -> Facts:
    rows = chosen[piece]
    offsets = (np.cumsum(chosen) - 1)[piece[rows]] * width + inside[rows]
    return Facts(offsets - offsets[:1], facts.pairs[rows], facts.models.filter(pl.Series(rows)))


def _farther(name: str, value: float, known: float) -> bool:
    if LIMITS[name][0] is None and not name.endswith("_load_60s"):
        return value > known
    return _from_one(value) > _from_one(known)


def _from_one(ratio: float) -> float:
    """How far a ratio is from 1, whichever way."""
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf
