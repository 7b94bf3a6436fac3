"""How far one workload is from another, each distance beside what the source shows against itself.

`compare` holds a copy (a synthetic workload, a new day) against its source, `sent_against_due` a replay against its
schedule. A measure is outside only where it lies beyond its limit and beyond its noise floor: a source that differs
from itself by more than the limit cannot be told from its copy any better.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import NothingMeasured
from tasks.workload.timing import LEAST_WINDOWS, SCALES_S, dispersion
from tasks.workload.trace import Workload

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PIECES = 60  # of the source, for its halves
SPLITS = 20
MANY = 200_000  # rows, above which there are fewer splits
LEAST = 40  # arrivals in each half, below which there is no floor
CORNERS = 256  # a side of the grid that the joint distance looks at
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
LOAD_S = 60
REPLAY_KS = 0.01


@dataclass(frozen=True, slots=True)
class Measure:
    """One distance. `lower` and `upper`: its limits; both None where it is shown and not judged. `floor`: the same
    between halves of the source, see `noise_floors`. `ok` None: not judged."""

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
        return self.inside or self._within_noise()

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


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of one workload: arrivals in ns from its first on, rows of (input, output) tokens with -1 for unknown."""

    offsets: Ints
    pairs: Ints
    models: pl.Series


def compare(source: Workload, copy: Workload, *, rate_scale: float = 1.0) -> Fidelity:
    """Every measure of the copy against its source. `rate_scale`: how many times the source's rate it was made for.

    Raises NothingMeasured where one of them has fewer than two arrivals.
    """
    a, b = _facts(source.frame), _facts(copy.frame)
    for workload, facts in ((source, a), (copy, b)):
        if len(facts.offsets) < 2 or facts.offsets[-1] == 0:
            raise NothingMeasured(f"{workload.header.name!r} has no two arrivals apart: nothing can be compared")
    floors = noise_floors(source.frame)
    found = dict(_distances(a, b, rate_scale))
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


def ks(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Two-sample Kolmogorov-Smirnov distance: sup over x of |F_a(x) - F_b(x)|, F the share of values <= x
    (Smirnov, Annals of Mathematical Statistics 1948). For samples that are not empty."""
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate((a, b))
    in_a = np.searchsorted(a, both, side="right") / len(a)
    in_b = np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(in_a - in_b).max())


def joint_ks(a: Ints, b: Ints) -> float:
    """Two-dimensional KS distance of the rows (input, output): the largest difference, over corners (x, y) and the four
    quadrants around each, of the share of rows in the quadrant (Fasano & Franceschini, MNRAS 225, 1987; quadrants of
    Peacock, MNRAS 202, 1983). Corners are the pairs of at most 256 pooled quantiles of either axis, exact where an axis
    takes no more values than that; a quadrant is `<= x` or `> x`, `<= y` or `> y`."""
    axes = [_corners(np.concatenate((a[:, k], b[:, k]))) for k in (0, 1)]
    difference = _cumulative(a, axes) - _cumulative(b, axes)
    x, y = difference[:, -1:], difference[-1:, :]
    quadrants = (difference, x - difference, y - difference, difference - x - y)
    return float(max(np.abs(part).max() for part in quadrants))


def _corners(values: Ints) -> Ints:
    distinct = np.unique(values)
    if len(distinct) <= CORNERS:
        return distinct
    levels = np.linspace(0, 1, CORNERS)
    return np.unique(np.quantile(values, levels, method="higher"))


def _cumulative(pairs: Ints, axes: list[Ints]) -> Floats:
    """Share of rows with input <= axes[0][i], output <= axes[1][j]; the last corner of either axis is its maximum."""
    shape = (len(axes[0]), len(axes[1]))
    at = [np.searchsorted(axis, pairs[:, k], side="left") for k, axis in enumerate(axes)]
    counts = np.bincount(at[0] * shape[1] + at[1], minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(counts.cumsum(axis=0).cumsum(axis=1) / len(pairs), dtype=np.float64)


def mix_distance(a: pl.Series, b: pl.Series) -> float:
    """Total variation distance of the shares of models: half the sum over models of |share_a - share_b|, the least
    share of requests that would have to ask another model (Levin & Peres, Markov Chains and Mixing Times, 4.1)."""
    of_a, of_b = (dict(s.value_counts(normalize=True).iter_rows()) for s in (a, b))
    return 0.5 * float(sum(abs(of_a.get(m, 0.0) - of_b.get(m, 0.0)) for m in of_a.keys() | of_b.keys()))


def noise_floors(frame: pl.DataFrame) -> dict[str, float]:
    """What every distance is between two halves of one source: the source is cut into 60 pieces of equal time, 30 of
    them drawn make one half and the rest the other, each closed up in order. Of 20 such splits the largest distance is
    taken (of a ratio the one farthest from 1): two samples of one traffic differ by less in 19 cases of 20, and by less
    than that as these halves have half the size. Fewer splits where there are more than 200,000 rows; none, and an
    empty dict, where a half has fewer than 40 arrivals."""
    floors: dict[str, float] = {}
    for even, odd in _splits(_facts(frame)):
        for name, value in _distances(even, odd, 1.0):
            known = floors.get(name)
            if known is None or _farther(name, value, known):
                floors[name] = value
    return floors


def _splits(facts: _Facts) -> Iterator[tuple[_Facts, _Facts]]:
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


def _closed_up(facts: _Facts, piece: Ints, inside: Ints, chosen: NDArray[np.bool_], width: int) -> _Facts:
    rows = chosen[piece]
    offsets = (np.cumsum(chosen) - 1)[piece[rows]] * width + inside[rows]
    return _Facts(offsets - offsets[:1], facts.pairs[rows], facts.models.filter(pl.Series(rows)))


def _farther(name: str, value: float, known: float) -> bool:
    if LIMITS[name][0] is None and not name.endswith("_load_60s"):
        return value > known
    return _from_one(value) > _from_one(known)


def _from_one(ratio: float) -> float:
    """How far a ratio is from 1, whichever way."""
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf


def _distances(a: _Facts, b: _Facts, rate_scale: float) -> Iterator[tuple[str, float]]:
    """rate_ratio: of (arrivals - 1) / span, over `rate_scale`. arrival_ks: `ks` of arrival times, each as a share of
    its own span: the shape of the rate curve. gap_ks: `ks` of the seconds between arrivals. dispersion_Ns: ratio of the
    indices of dispersion of counts (`timing.dispersion`), where both have one. …_load_60s: ratio of variance / mean of
    the tokens that arrive in each whole minute, unknown ones as none."""
    spans = [facts.offsets[-1] - facts.offsets[0] for facts in (a, b)]
    rates = [(len(facts.offsets) - 1) / span for facts, span in zip((a, b), spans, strict=True)]
    yield "rate_ratio", float(rates[1] / rates[0] / rate_scale)
    yield "arrival_ks", ks(a.offsets / spans[0], b.offsets / spans[1])
    yield "gap_ks", ks(np.diff(a.offsets), np.diff(b.offsets))
    for scale in SCALES_S:
        of_a, of_b = dispersion(a.offsets, scale), dispersion(b.offsets, scale)
        if of_a and of_b is not None:
            yield f"dispersion_{scale}s", of_b / of_a
    yield "joint_ks", joint_ks(a.pairs, b.pairs)
    yield "mix_distance", mix_distance(a.models, b.models)
    for k, what in enumerate(("input", "output")):
        loads = _load_spread(a, k), _load_spread(b, k)
        if loads[0] and loads[1] is not None:
            yield f"{what}_load_60s", loads[1] / loads[0]


def _load_spread(facts: _Facts, column: int) -> float | None:
    """Variance / mean of the tokens in each whole window of a minute; None below five windows or without tokens."""
    width = LOAD_S * 10**9
    windows = int(facts.offsets[-1] // width)
    if windows < LEAST_WINDOWS:
        return None
    inside = facts.offsets < windows * width
    tokens = np.maximum(facts.pairs[inside, column], 0)
    sums = np.bincount(facts.offsets[inside] // width, weights=tokens, minlength=windows)
    return float(sums.var(ddof=1) / sums.mean()) if sums.mean() > 0 else None


def _facts(frame: pl.DataFrame) -> _Facts:
    offsets = frame["offset_ns"].to_numpy()
    pairs = frame.select(pl.col("input_tokens", "output_tokens").fill_null(-1)).to_numpy()
    return _Facts(offsets - offsets[0] if len(offsets) else offsets, pairs, frame["model"])
