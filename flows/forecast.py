"""What a run will cost before it costs anything: requests, tokens, money, minutes. Pure."""

import math
from dataclasses import dataclass

import polars as pl

from config.load import Load
from config.plan import Plan, Replay

DEFAULT_LATENCY_S = 1.0
DEFAULT_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Forecast:
    requests: int  # to the targets, warm-up and cool-down included
    input_tokens: int
    output_tokens: int
    usd: float | None  # None: no price known
    minutes: float
    latency_s: float  # assumed for one request
    assumed: bool  # True: nothing recorded, DEFAULT_LATENCY_S taken

    def in_words(self) -> str:
        money = f"about ${self.usd:,.2f}" if self.usd is not None else "price unknown (no [prices] in the plan)"
        time = f"{self.minutes:.0f} min" if self.minutes >= 1.5 else f"{self.minutes * 60:.0f} s"
        basis = "assumed" if self.assumed else "recorded"
        return (
            f"{self.requests:,} requests, about {self.input_tokens:,} input and {self.output_tokens:,} output tokens, "
            f"{money}, about {time} (at {self.latency_s * 1000:.0f} ms a request, {basis})"
        )


def forecast(plan: Plan, workload: pl.DataFrame, *, sweep: bool, replay: bool, load: Load | None = None) -> Forecast:
    """`workload` has the columns of an arrival. A confirm, should there be one, comes on top."""
    count = workload.height
    known = workload["duration_ns"].drop_nulls()
    median = known.median()
    latency = float(median) / 1e9 if isinstance(median, int | float) and median > 0 else DEFAULT_LATENCY_S
    requests, seconds = 0, 0.0
    if replay:
        span = (workload["offset_ns"].max() or 0) if count else 0
        assert isinstance(span, int | float)
        played, length = _played(plan.replay, workload, span)
        requests += played
        seconds += length + latency
    if load is not None:
        requests += math.ceil(load.requests * (_turns(workload) if load.sessions else 1.0))
        seconds += load.seconds
    if sweep:
        for level in plan.sweep.levels:
            surplus = level + (level - 1)  # each user's warm-up, and what is in flight when the last measured one ends
            requests += plan.sweep.requests + surplus * plan.sweep.blocks
            seconds += (plan.sweep.requests / level + 2 * plan.sweep.blocks) * latency
    seconds *= len(plan.targets)
    if sweep and plan.control.enabled:
        service = plan.control.service_ms / 1e3
        seconds += sum((plan.sweep.requests / level + 2 * plan.sweep.blocks) * service for level in plan.sweep.levels)
    requests *= len(plan.targets)
    each_in = _mean(workload, "input_tokens")
    each_out = _mean(workload, "output_tokens")
    return Forecast(
        requests,
        int(requests * each_in),
        int(requests * each_out),
        _usd(plan, requests // len(plan.targets), each_in, each_out),
        (seconds + 5) / 60,
        latency,
        median is None,
    )


def _played(replay: Replay, workload: pl.DataFrame, span: float) -> tuple[int, float]:
    """(requests, seconds) of a replay that cuts idle gaps, scales and loops; `span` of the workload in ns."""
    count = workload.height
    if replay.max_idle_gap_s is not None and count:
        gaps = workload["offset_ns"].sort().diff().fill_null(0)
        span = float(gaps.clip(upper_bound=int(replay.max_idle_gap_s * 1e9)).sum())
    seconds = span / 1e9 / replay.speed
    requests = count * replay.scale
    if replay.loop_s is not None and seconds > 0 and count > 1:
        requests *= replay.loop_s / (seconds * count / (count - 1))
        seconds = replay.loop_s
    return math.ceil(requests - 1e-9), seconds


def _turns(workload: pl.DataFrame) -> float:
    """Mean requests of a session; a request without one is a session by itself."""
    if "session" not in workload.columns or not workload.height:
        return 1.0
    sessions = workload["session"]
    return workload.height / (sessions.drop_nulls().n_unique() + sessions.null_count())


def _mean(workload: pl.DataFrame, column: str) -> float:
    value = workload[column].fill_null(DEFAULT_TOKENS).mean()
    return float(value) if isinstance(value, int | float) else float(DEFAULT_TOKENS)


def _usd(plan: Plan, requests: int, each_in: float, each_out: float) -> float | None:
    total = 0.0
    for target in plan.targets:
        price = plan.prices.get(target.model)
        if price is None:
            return None
        total += requests * (each_in * price.input + each_out * price.output) / 1e6
    return total
