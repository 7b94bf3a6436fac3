"""The noise of a benchmarking setup, as the gate was designed against it. One seeded function, `world`."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]

LEVELS = (1, 10, 50, 100)
METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
BASE_S = {"latency": (0.400, 0.450, 0.620, 0.900), "ttft": (0.090, 0.100, 0.150, 0.260), "control": (0.040,) * 4}
SIGMA = np.array((0.30, 0.33, 0.38, 0.42))
HOST_SD, HOST_AR, BLOCK_SD, REQUEST_AR, SPREAD_SD = 0.02, 0.2, 0.025, 0.4, 0.03
OUTLIER_P, OUTLIER = 0.03, (1.08, 1.35)
SPIKE_P, SPIKE_SD, SPIKE_SHAPE = 0.015, 0.35, 2.5
AGAIN_HOST, AGAIN_FRESH, AGAIN_OUTLIER_P = 0.6, 0.8, 0.3


@dataclass(frozen=True, slots=True)
class World:
    """ln(metric) by (night, level, metric) of the target and ln p50 by (night, level) of the control: the history, then
    tonight (or so many nights after the history), then the second measurement of each of those."""

    target: Floats
    control: Floats


def world(
    rng: np.random.Generator,
    nights: int,
    *,
    tonights: int = 1,
    own_sd: float = 0.0,
    control_share: float = 1.0,
    shared_blocks: bool = False,
    lasting: bool = False,
    blocks: int = 5,
    requests: int = 200,
) -> World:
    """`nights` of history, tonight, and tonight once more; or so many `tonights`, and each of them once more.

    On the log scale, at level c of (1, 10, 50, 100): latency = ln base + H + O + P + σ·D·z + ln(1 + spike).
    H: the night's host, AR(1) .2, sd .02, shared by all levels, targets and the control (of which the control shares
    `control_share`, the rest being its own). O: with probability .03, ln U(1.08, 1.35), shared likewise.
    P: N(0, .025) a block, level and target (a leg has connections of its own); with `shared_blocks` the levels of a
    block share it. z: AR(1) .4 over requests, unit variance; σ = (.30, .33, .38, .42); D = exp N(0, .03) a night and
    level. Spike: with probability .015 · exp N(0, .35) (a night and level), Lomax with shape 2.5. TTFT likewise, with
    its own base and z, .8 P and 1.1 σ. Throughput = c ÷ mean latency. The control is one more target with its own P,
    z, D and spikes. `own_sd`: a night's luck of the target alone, AR(1) .2, as a real provider has.
    The second measurement of a night: host = .6 H + .8 fresh (own luck likewise), an outlier persists with
    probability .3, all else is fresh; with `lasting`, D and the rate of spikes last too.
    """
    count = nights + 2 * tonights
    host = _nightly(rng, nights, HOST_SD, tonights)
    own = _nightly(rng, nights, own_sd, tonights)
    outlier = np.where(rng.random(count) < OUTLIER_P, np.log(rng.uniform(*OUTLIER, count)), 0.0)
    outlier[-tonights:] = np.where(rng.random(tonights) < AGAIN_OUTLIER_P, outlier[nights : nights + tonights], 0.0)
    shared = control_share * host + np.sqrt(1 - control_share**2) * _nightly(rng, nights, HOST_SD, tonights)

    luck_levels = 1 if shared_blocks else len(LEVELS)
    shape = (count, len(LEVELS), blocks, requests)
    luck = rng.normal(0, BLOCK_SD, (count, luck_levels, blocks, 1))
    shift = (host + own + outlier)[:, None, None, None]
    latency = _requests(rng, "latency", shape, SIGMA, lasting, tonights) + shift + luck
    ttft = _requests(rng, "ttft", shape, 1.1 * SIGMA, lasting, tonights) + shift + 0.8 * luck
    control = _requests(rng, "control", shape, SIGMA, lasting, tonights) + (shared + outlier)[:, None, None, None]
    control += rng.normal(0, BLOCK_SD, (count, luck_levels, blocks, 1))

    busy = np.log(np.array(LEVELS))[:, None] - np.log(np.exp(latency).mean(axis=-1))
    found = [quantile(latency, q) for q in (0.50, 0.95, 0.99)] + [quantile(ttft, 0.95), busy]
    return World(np.stack([block.mean(axis=-1) for block in found], axis=-1), quantile(control, 0.5).mean(axis=-1))


def quantile(values: Floats, q: float) -> Floats:
    """Type 8 along the last axis; sorts in place."""
    values.sort(axis=-1)
    n = values.shape[-1]
    h = min(max((n + 1 / 3) * q + 1 / 3, 1.0), float(n))
    low = int(h)
    high = min(low + 1, n)
    return values[..., low - 1] + (h - low) * (values[..., high - 1] - values[..., low - 1])


def ar1(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> Floats:
    """Unit variance and stationary from the first value, along the last axis."""
    fresh = rng.standard_normal(shape)
    fresh[..., 1:] *= np.sqrt(1 - rho * rho)
    return np.asarray(lfilter([1.0], [1.0, -rho], fresh, axis=-1))


def _nightly(rng: np.random.Generator, nights: int, sd: float, tonights: int) -> Floats:
    luck = ar1(rng, (nights + tonights,), HOST_AR)
    again = AGAIN_HOST * luck[nights:] + AGAIN_FRESH * rng.standard_normal(tonights)
    return sd * np.append(luck, again)


def _requests(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], sigma: Floats, lasting: bool, tonights: int
) -> Floats:
    nights, levels = shape[:2]
    spread = np.exp(rng.normal(0, SPREAD_SD, (nights, levels)))
    rate = SPIKE_P * np.exp(rng.normal(0, SPIKE_SD, (nights, levels)))
    if lasting:
        seen, again = slice(-2 * tonights, -tonights), slice(-tonights, None)
        spread[again], rate[again] = spread[seen], rate[seen]
    logs = ar1(rng, shape, REQUEST_AR) * (sigma * spread)[:, :, None, None]
    logs += np.log(BASE_S[kind])[:, None, None]
    hit = rng.random(shape) < rate[:, :, None, None]
    logs[hit] += np.log1p(rng.pareto(SPIKE_SHAPE, int(hit.sum())))
    return logs


def tail(d: float, at: tuple[int, ...] = LEVELS) -> Floats:
    """A change of p95 and p99 of latency by the factor 1 + d at some levels, as a shift of (level, metric)."""
    shift = np.zeros((len(LEVELS), len(METRICS)))
    for level in at:
        shift[LEVELS.index(level), 1:3] = np.log1p(d)
    return shift


def frame(logs: Floats, control: Floats | None, *, first: int = 0, levels: tuple[int, ...] = LEVELS) -> pl.DataFrame:
    """Rows of the gate from ln(metric) by (night, level, metric), and the control's ln p50 by (night, level)."""
    nights = np.arange(first, first + len(logs))
    parts = []
    for k, level in enumerate(LEVELS):
        if level not in levels:
            continue
        for j, metric in enumerate(METRICS):
            parts.append(("gw", level, metric, np.exp(logs[:, k, j])))
        if control is not None:
            parts.append(("control", level, "latency_p50", np.exp(control[:, k])))
    size = len(nights)
    return pl.DataFrame(
        {
            "night": np.tile(nights, len(parts)),
            "target": np.repeat([target for target, *_ in parts], size),
            "level": np.repeat([level for _, level, *_ in parts], size),
            "metric": np.repeat([metric for *_, metric, _ in parts], size),
            "value": np.concatenate([values for *_, values in parts]),
        }
    ).with_columns(pl.lit("sweep").alias("series"), pl.lit(1000).alias("n"))
