"""Workload -> Profile: what the traffic is like, as numbers. `words.in_words` says it in sentences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import NothingMeasured
from tasks.workload.reuse import PrefixReuse, prefix_reuse
from tasks.workload.timing import (
    Concurrency,
    Gaps,
    RateCurve,
    WeekHour,
    concurrency_of,
    gaps_of,
    rate_curves,
    week_hours,
)
from tasks.workload.trace import Workload

SCHEMA = "gatebench.profile/1"
ROW_FIELDS = ("model", "input_tokens", "output_tokens", "max_output_tokens", "stream")
MOST_ROWS = 1000
GRID = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution: how many are known, mean, and quantiles p0 … p100."""

    n: int
    unknown: int
    mean: float
    quantiles: dict[str, float]

    def __getitem__(self, level: str) -> float:
        return self.quantiles[level]


@dataclass(frozen=True, slots=True)
class JointBin:
    """Requests whose input and output lie in [edge, 2 · edge); edge 0 holds the zeros."""

    input_from: int
    output_from: int
    n: int


@dataclass(frozen=True, slots=True)
class ModelShare:
    model: str
    n: int
    share: float
    input_p50: float | None
    output_p50: float | None


@dataclass(frozen=True, slots=True)
class Sessions:
    """Only where the workload keeps sessions. Think time: from the end of a turn to the start of the next."""

    sessions: int
    users: int
    in_session: int  # requests that belong to one
    turns: Spread
    think_s: Spread | None


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything but names and counts is None where the log did not say. Shares are of all requests."""

    workload_id: str
    name: str
    started_at: str | None
    resolution_ns: int | None
    requests: int
    span_s: float
    mean_rps: float | None
    rates: tuple[RateCurve, ...]
    gaps: Gaps | None
    input_tokens: Spread | None
    output_tokens: Spread | None
    joint: tuple[JointBin, ...]
    spearman: float | None  # of input and output tokens; None below three pairs or where one never varies
    models: tuple[ModelShare, ...]
    stream_share: float
    caps: Spread | None
    cache_hit_share: float | None  # of those whose log says
    sessions: Sessions | None
    errors: dict[str, int]
    error_share: float
    latency_s: Spread | None  # of requests that succeeded
    ttft_s: Spread | None  # of streams that succeeded
    concurrency: Concurrency | None
    week: tuple[WeekHour, ...] = ()
    prefixes: PrefixReuse | None = None
    token_grids: dict[str, tuple[float, ...]] = field(default_factory=dict)  # of input and output: p0, p1, … p100
    rows: tuple[tuple[Any, ...], ...] = ()  # ROW_FIELDS of at most 1,000 requests: which sizes go together

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def profile(workload: Workload) -> Profile:
    """Raises NothingMeasured for a workload without arrivals."""
    frame = workload.frame
    if frame.is_empty():
        raise NothingMeasured(f"the workload {workload.header.name!r} holds no arrival: there is nothing to profile")
    offsets = frame["offset_ns"].to_numpy() - frame["offset_ns"][0]
    span_s = float(offsets[-1] / 1e9)
    good = frame.filter(pl.col("failure").is_null())
    timed = frame.filter(pl.col("duration_ns").is_not_null())
    return Profile(
        workload_id=workload.id,
        name=workload.header.name,
        started_at=workload.header.started_at,
        resolution_ns=workload.header.resolution_ns,
        requests=frame.height,
        span_s=span_s,
        mean_rps=(frame.height - 1) / span_s if span_s > 0 else None,
        rates=rate_curves(offsets),
        gaps=gaps_of(offsets, GRID),
        input_tokens=spread(frame["input_tokens"]),
        output_tokens=spread(frame["output_tokens"]),
        joint=_joint(frame),
        spearman=_spearman(frame),
        models=_models(frame),
        stream_share=_share(frame.filter("stream").height, frame.height),
        caps=spread(frame["max_output_tokens"]),
        cache_hit_share=_cache_hits(frame["cache_hit"]),
        sessions=_sessions(frame),
        errors=_errors(frame),
        error_share=_share(frame["failure"].count(), frame.height),
        latency_s=spread(good["duration_ns"] / 1e9),
        ttft_s=spread(good.filter("stream")["first_token_ns"] / 1e9),
        concurrency=concurrency_of(
            timed["offset_ns"].to_numpy() - frame["offset_ns"][0],
            timed["duration_ns"].to_numpy(),
            frame.height - timed.height,
        ),
        week=week_hours(offsets, workload.header.started_at),
        prefixes=prefix_reuse(frame, workload.header.block_tokens),
        rows=joint_rows(frame),
        token_grids={name: _grid(frame[f"{name}_tokens"]) for name in ("input", "output")},
    )


def spread(values: pl.Series, grid: Sequence[float] = GRID) -> Spread | None:
    """Quantiles by linear interpolation; None where no value is known."""
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return None
    quantiles = {f"p{level:g}": float(v) for level, v in zip(grid, np.percentile(known, grid), strict=True)}
    return Spread(len(known), len(values) - len(known), float(known.mean()), quantiles)


def joint_rows(frame: pl.DataFrame) -> tuple[tuple[Any, ...], ...]:
    """Of the requests in the order of model and sizes those in the middle of 1,000 equal stretches; all of fewer."""
    ordered = frame.select(ROW_FIELDS).sort(ROW_FIELDS, nulls_last=True)
    most = min(MOST_ROWS, ordered.height)
    return tuple(ordered[((np.arange(most) + 0.5) * ordered.height / most).astype(np.int64)].rows())


def _grid(values: pl.Series) -> tuple[float, ...]:
    known = values.drop_nulls().to_numpy()
    return tuple(np.percentile(known, np.arange(101)).tolist()) if len(known) else ()


def _share(n: int, of: int) -> float:
    return n / of


def _known_pairs(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("input_tokens", "output_tokens").drop_nulls()


def _joint(frame: pl.DataFrame) -> tuple[JointBin, ...]:
    pairs = _known_pairs(frame).to_numpy()
    if not len(pairs):
        return ()
    bins, counts = np.unique(log2_edges(pairs), axis=0, return_counts=True)
    return tuple(JointBin(int(i), int(o), int(n)) for (i, o), n in zip(bins, counts, strict=True))


def log2_edges(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest power of two that is not above each value; 0 for 0."""
    _, exponents = np.frexp(values.astype(np.float64))
    return np.where(values < 1, 0, np.left_shift(1, np.maximum(exponents - 1, 0).astype(np.int64)))


def _spearman(frame: pl.DataFrame) -> float | None:
    pairs = _known_pairs(frame)
    if pairs.height < 3 or pairs["input_tokens"].n_unique() < 2 or pairs["output_tokens"].n_unique() < 2:
        return None
    return float(pairs.select(pl.corr("input_tokens", "output_tokens", method="spearman")).item())


def _models(frame: pl.DataFrame) -> tuple[ModelShare, ...]:
    counted = (
        frame.group_by("model")
        .agg(
            pl.len().alias("n"),
            pl.col("input_tokens").median().alias("i"),
            pl.col("output_tokens").median().alias("o"),
        )
        .sort(["n", "model"], descending=[True, False])
    )
    return tuple(ModelShare(m, n, _share(n, frame.height), i, o) for m, n, i, o in counted.iter_rows())


def _cache_hits(hits: pl.Series) -> float | None:
    known = hits.drop_nulls()
    return _share(known.filter(known).len(), len(known)) if len(known) else None


def _errors(frame: pl.DataFrame) -> dict[str, int]:
    counted = frame.drop_nulls("failure").group_by("failure").len().sort(["len", "failure"], descending=[True, False])
    return dict(counted.iter_rows())


def _sessions(frame: pl.DataFrame) -> Sessions | None:
    inside = frame.drop_nulls("session")
    if inside.is_empty():
        return None
    turns = inside.group_by("session").len()["len"]
    previous_end = (pl.col("offset_ns") + pl.col("duration_ns")).shift(1).over("session", order_by="offset_ns")
    think = inside.select((pl.col("offset_ns") - previous_end) / 1e9).to_series().drop_nulls()
    return Sessions(
        sessions=len(turns),
        users=frame["user"].drop_nulls().n_unique(),
        in_session=inside.height,
        turns=_some(turns),
        think_s=spread(think.filter(think >= 0)),
    )


def _some(values: pl.Series) -> Spread:
    found = spread(values)
    assert found is not None, "a group has at least one row"
    return found
