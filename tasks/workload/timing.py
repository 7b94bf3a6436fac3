"""How arrivals lie in time: rate curves, gaps, dispersion, and how many requests were in flight at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

STEPS_S = (1, 10, 60)
SCALES_S = (1, 10, 60, 300)
LONG_STEPS_S = (600, 3600, 86_400)
MOST_BINS = 7200  # of a rate curve; a finer one than that is left out
LEAST_WINDOWS = 5  # of a dispersion index
CURVE_BINS = 120
IDLE_GAPS = 10  # times the mean gap: a longer one is idle time
WEEK_LEAST_S = 86_400  # of a workload, for its hours of the week


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Arrivals in each step from the first arrival on; the last step may be cut short."""

    step_s: int
    counts: tuple[int, ...]
    peak_rps: float


@dataclass(frozen=True, slots=True)
class Gaps:
    """Seconds between arrivals. A Poisson stream has cv = 1, local_cv = 1 and dispersion = 1 at every scale.

    cv: standard deviation / mean. local_cv: Shinomoto's local variation, 3/(n-1) · Σ ((a-b)/(a+b))² over neighbouring
    gaps a, b (Shinomoto, Shima & Tanji, Neural Computation 2003): blind to slow changes of rate, which raise cv.
    dispersion: variance / mean of the arrivals in windows of so many seconds; None where fewer than five windows fit.
    """

    mean_s: float
    quantiles_s: dict[str, float]
    cv: float | None
    local_cv: float | None
    dispersion: dict[str, float | None]
    longest_idle_s: float
    longest_idle_at_s: float
    idle: int = 0  # gaps longer than ten mean gaps
    idle_share: float = 0.0  # of the time that lies in them


@dataclass(frozen=True, slots=True)
class WeekHour:
    """Mean arrivals a second in one hour of the week, over the `seconds` of it that the workload saw. UTC."""

    weekday: int  # 0 is Monday
    hour: int
    rps: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Requests in flight, as recorded starts and durations imply. Mean by Little's law: time spent in requests / time
    observed. `curve` is the mean in flight in each of `step_s`, from the first arrival on."""

    max: int
    mean: float
    step_s: float
    curve: tuple[float, ...]
    unknown: int  # requests without a recorded duration, which are not in it


def rate_curves(offsets_ns: Ints) -> tuple[RateCurve, ...]:
    """One curve a step of STEPS_S; of a log too long for any of them, one in the finest step that fits. Offsets sorted,
    from the first arrival on."""
    curves: list[RateCurve] = []
    for step_s in (*STEPS_S, *LONG_STEPS_S):
        if curves and step_s in LONG_STEPS_S:
            break
        bins = int(offsets_ns[-1] // (step_s * 10**9)) + 1
        if bins <= MOST_BINS:
            counts = np.bincount(offsets_ns // (step_s * 10**9), minlength=bins)
            curves.append(RateCurve(step_s, tuple(counts.tolist()), float(counts.max() / step_s)))
    return tuple(curves)


def gaps_of(offsets_ns: Ints, levels: Sequence[float]) -> Gaps | None:
    """None below two arrivals."""
    if len(offsets_ns) < 2:
        return None
    gaps = np.diff(offsets_ns) / 1e9
    longest = int(gaps.argmax())
    mean = float(gaps.mean())
    return Gaps(
        mean_s=mean,
        quantiles_s={f"p{level:g}": float(v) for level, v in zip(levels, np.percentile(gaps, levels), strict=True)},
        cv=float(gaps.std() / mean) if mean > 0 else None,
        local_cv=local_variation(gaps),
        dispersion={str(scale): dispersion(offsets_ns, scale) for scale in SCALES_S},
        longest_idle_s=float(gaps[longest]),
        longest_idle_at_s=float(offsets_ns[longest] / 1e9),
        idle=int((gaps > IDLE_GAPS * mean).sum()),
        idle_share=float(gaps[gaps > IDLE_GAPS * mean].sum() / gaps.sum()) if mean > 0 else 0.0,
    )


def week_hours(offsets_ns: Ints, started_at: str | None) -> tuple[WeekHour, ...]:
    """One for each hour of the week that was seen, in order; none below a day, or where the start is not known."""
    span_s = float(offsets_ns[-1] / 1e9)
    if started_at is None or span_s < WEEK_LEAST_S:
        return ()
    start = datetime.fromisoformat(started_at).astimezone(UTC)
    monday_s = start.weekday() * 86_400 + start.hour * 3600 + start.minute * 60 + start.second
    edges = np.concatenate(([monday_s], np.arange(monday_s // 3600 + 1, (monday_s + span_s) // 3600 + 1) * 3600))
    lasted = np.diff(np.append(edges, monday_s + span_s))
    counts = np.bincount(((offsets_ns / 1e9 + monday_s) // 3600).astype(np.int64) - monday_s // 3600)
    of_week = (edges // 3600).astype(np.int64) % 168
    arrived = np.bincount(of_week, weights=counts, minlength=168)
    seen = np.bincount(of_week, weights=lasted, minlength=168)
    return tuple(
        WeekHour(hour // 24, hour % 24, float(arrived[hour] / seen[hour]), float(seen[hour]))
        for hour in range(168)
        if seen[hour] > 0
    )


def local_variation(gaps: NDArray[np.float64]) -> float | None:
    """Shinomoto's Lv; pairs of two zero gaps say nothing and are left out. None without a pair."""
    a, b = gaps[:-1], gaps[1:]
    some = a + b > 0
    if not some.any():
        return None
    return float(3 * np.mean(((a[some] - b[some]) / (a[some] + b[some])) ** 2))


def dispersion(offsets_ns: Ints, scale_s: int) -> float | None:
    """Index of dispersion of counts over whole windows of `scale_s` (Cox & Lewis 1966)."""
    width = scale_s * 10**9
    windows = int(offsets_ns[-1] // width)
    if windows < LEAST_WINDOWS:
        return None
    inside = offsets_ns[offsets_ns < windows * width]
    counts = np.bincount(inside // width, minlength=windows)
    return float(counts.var(ddof=1) / counts.mean())


def concurrency_of(starts_ns: Ints, durations_ns: Ints, unknown: int) -> Concurrency | None:
    """In flight from `start` up to, not at, `start + duration`. None where no duration is known."""
    if not len(starts_ns):
        return None
    ends_ns = starts_ns + durations_ns
    last = int(ends_ns.max())
    if last <= 0:
        return Concurrency(0, 0.0, 0.0, (), unknown)
    edges = np.linspace(0, last, min(CURVE_BINS, max(1, last // 10**6)) + 1)
    # busy(t): request time spent before t, so that the mean over [a, b) is (busy(b) - busy(a)) / (b - a)
    busy = _spent_before(edges, starts_ns) - _spent_before(edges, ends_ns)
    curve = np.diff(busy) / np.diff(edges)
    return Concurrency(
        max=_most_at_once(starts_ns, ends_ns),
        mean=float(durations_ns.sum() / last),
        step_s=float(edges[1] / 1e9),
        curve=tuple(round(float(value), 3) for value in curve),
        unknown=unknown,
    )


def _spent_before(edges: NDArray[np.float64], stamps_ns: Ints) -> NDArray[np.float64]:
    """Σ max(0, edge - stamp) over all stamps, for each edge."""
    ordered = np.sort(stamps_ns).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    before = np.searchsorted(ordered, edges, side="left")
    return np.asarray(before * edges - sums[before], dtype=np.float64)


def _most_at_once(starts_ns: Ints, ends_ns: Ints) -> int:
    """Looked at just after each start; a request that ends in the same nanosecond has left."""
    ordered = np.sort(starts_ns)
    # of several that start together the last one sees them all
    begun = np.searchsorted(ordered, ordered, side="right")
    left = np.searchsorted(np.sort(ends_ns), ordered, side="right")
    return int((begun - left).max())
