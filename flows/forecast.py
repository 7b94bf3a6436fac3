"""What a run will cost before it costs anything: requests, tokens, money, minutes. Pure."""

import math
from dataclasses import dataclass

import polars as pl

from config.limits import Budget
from config.load import Load
from config.plan import Plan
from config.traffic import Replay
from flows.specs import price_list
from storage.errors import StoppedEarly, UsageError
from storage.records import price_of

DEFAULT_LATENCY_S = 1.0
DEFAULT_TOKENS = 64
RATES = 8  # that a search for the ceiling tries, as a rule


@dataclass(frozen=True, slots=True)
class Forecast:
    requests: int  # to the targets, warm-up and cool-down included
    input_tokens: int
    output_tokens: int
    usd: float | None  # None: no price known
    minutes: float
    latency_s: float  # assumed for one request
    assumed: bool  # True: nothing recorded, DEFAULT_LATENCY_S taken
    tokens_known: bool = True  # False: for most requests DEFAULT_TOKENS were taken
    certain_s: float = 0.0  # of the time, that which no answer can shorten: the schedule of an open loop
    unpriced: tuple[str, ...] = ()  # models without a price

    def in_words(self) -> str:
        money = f"about {_money(self.usd)}" if self.usd is not None else "price unknown (no [prices] in the plan)"
        time = f"{self.minutes:.0f} min" if self.minutes >= 1.5 else f"{self.minutes * 60:.0f} s"
        basis = "assumed" if self.assumed else "recorded"
        return (
            f"{self.requests:,} requests, about {self.input_tokens:,} input and {self.output_tokens:,} output tokens, "
            f"{money}, about {time} (at {self.latency_s * 1000:.0f} ms a request, {basis})"
        )


def forecast(
    plan: Plan, workload: pl.DataFrame, *, sweep: bool, replay: bool, load: Load | None = None, ceiling: bool = False
) -> Forecast:
    """`workload` has the columns of an arrival. A confirm, should there be one, comes on top. Raises UsageError where
    sessions are to be kept of a workload that knows none."""
    if (replay and plan.replay.sessions) or (load is not None and load.sessions):
        _know_sessions(workload)
    count = workload.height
    known = workload["duration_ns"].drop_nulls()
    median = known.median()
    latency = float(median) / 1e9 if isinstance(median, int | float) and median > 0 else DEFAULT_LATENCY_S
    requests, seconds, certain = 0, 0.0, 0.0
    if replay:
        span = (workload["offset_ns"].max() or 0) if count else 0
        assert isinstance(span, int | float)
        played, length = _played(plan.replay, workload, span)
        requests += played + _on_top(plan.replay, length, latency)
        seconds += length + latency
        certain += length
    if load is not None:
        begun = load.requests + load.warmup_requests
        requests += math.ceil(begun * (_turns(workload) if load.sessions else 1.0))
        seconds += load.warmup_s + load.seconds
        certain += load.warmup_s + load.seconds
    if sweep:
        for level in plan.sweep.levels:
            surplus = level + (level - 1)  # each user's warm-up, and what is in flight when the last measured one ends
            requests += plan.sweep.requests + surplus * plan.sweep.blocks
            seconds += (plan.sweep.requests / level + 2 * plan.sweep.blocks) * latency
    if ceiling:
        tried, length = _rates(plan, latency)
        requests += tried
        seconds += length
    seconds, certain = seconds * len(plan.targets), certain * len(plan.targets)
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
        _usd(plan, workload, requests // len(plan.targets)),
        (seconds + 5) / 60,
        latency,
        median is None,
        workload["output_tokens"].null_count() * 2 <= count,
        certain,
        _unpriced(plan, workload),
    )


def afford(cost: Forecast, budget: Budget) -> list[str]:
    """Warnings of limits that the run will reach. Raises StoppedEarly where it would plainly take more than
    `refuse_over` times one that it spends something of: money, tokens, time. A limit of requests is only warned of:
    reaching it costs nothing but the rest of the measurement. Raises UsageError for a limit of money without prices."""
    if budget.usd is not None and cost.unpriced:
        raise UsageError(
            f"budget.usd cannot be kept: no price is known of {', '.join(cost.unpriced)}; write [prices.NAME] with "
            'input and output, in dollars a million tokens, or [prices."*"] for all models'
        )
    found: list[tuple[str, float, float, bool]] = [
        ("{:,.0f} requests", cost.requests, _limit(budget.requests), False),
        ("{:,.0f} output tokens", cost.output_tokens, _limit(budget.output_tokens), cost.tokens_known),
        ("{:,.2g} dollars", 0.0 if cost.usd is None else cost.usd, _limit(budget.usd), cost.tokens_known),
        ("{:,.0f} s", cost.certain_s, _limit(budget.wall_s), True),
    ]
    warnings = []
    for text, needed, limit, plain in found:
        if needed <= limit:
            continue
        said = f"this run is forecast to take {text.format(needed)}, its budget is {text.format(limit)}"
        if plain and budget.refuse_over and needed > budget.refuse_over * limit:
            raise StoppedEarly(
                f"{said}; it is not begun. Measure less, raise the budget, or set budget.refuse_over = 0 to begin and "
                "stop when it is used up"
            )
        warnings.append(f"{said}: it will be stopped there")
    return warnings


def _rates(plan: Plan, latency_s: float) -> tuple[int, float]:
    """(requests, seconds) of a search for the ceiling: RATES trials near what the top level can finish at most."""
    asked = plan.ceiling
    most = max(plan.sweep.levels) / latency_s if asked.max_rps is None else asked.max_rps
    seconds = max(asked.duration_s, asked.requests / most)
    warm = max(min(2.0, seconds / 10), 2 * latency_s)
    rates = min(RATES, asked.most)
    return math.ceil(rates * most * (seconds + warm)), rates * (seconds + warm + latency_s)


def _limit(value: float | None) -> float:
    return math.inf if value is None else value


def _money(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 0.095 or usd == 0 else f"${usd:.2g}"


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


def _on_top(replay: Replay, seconds: float, latency_s: float) -> int:
    """Requests of the replay's stress; users send one after the other, each as long as a request is assumed to take.
    Raises UsageError where nothing of it would be sent."""
    stress = replay.stress
    if stress is None:
        return 0
    end = seconds if stress.until_s is None else min(seconds, stress.until_s)
    if 0 < seconds <= stress.from_s:
        raise UsageError(
            f"the stress begins after {stress.from_s:g} s, and the replay ends after {seconds:.3g} s: "
            "let it begin sooner (from=…), or play the workload over and over (--loop DURATION)"
        )
    lasts = max(0.0, end - stress.from_s)
    if stress.rate_rps is not None:
        return math.ceil(stress.rate_rps * lasts)
    return 0 if stress.concurrency is None else math.ceil(stress.concurrency * (lasts / latency_s + (lasts > 0)))


def _know_sessions(workload: pl.DataFrame) -> None:
    if "session" not in workload.columns or workload["session"].null_count() == workload.height:
        raise UsageError(
            "the workload knows no sessions, so none can be kept: capture it with --privacy structure, or send without "
            "--sessions (in a plan: sessions = false)"
        )


def _turns(workload: pl.DataFrame) -> float:
    """Mean requests of a session; a request without one is a session by itself."""
    sessions = workload["session"]
    return workload.height / (sessions.drop_nulls().n_unique() + sessions.null_count())


def _mean(workload: pl.DataFrame, column: str) -> float:
    value = workload[column].fill_null(DEFAULT_TOKENS).mean()
    return float(value) if isinstance(value, int | float) else float(DEFAULT_TOKENS)


def _unpriced(plan: Plan, workload: pl.DataFrame) -> tuple[str, ...]:
    """Models that will be asked for and have no price."""
    known = price_list(plan)
    asked = {t.models.get(model, t.model) for t in plan.targets for model in workload["model"].unique()}
    return tuple(sorted(model for model in asked if price_of(known, None, model) is None))


def _usd(plan: Plan, workload: pl.DataFrame, requests: int) -> float | None:
    """So many requests to each target, in the workload's mix of models; None: the price of one is not known."""
    prices = price_list(plan)
    mix = workload.group_by("model", maintain_order=True).agg(
        pl.len().alias("n"), *(pl.col(f"{way}_tokens").fill_null(DEFAULT_TOKENS).sum() for way in ("input", "output"))
    )
    total = 0.0
    for target in plan.targets:
        for model, n, put, got in mix.iter_rows():
            price = price_of(prices, None, target.models.get(model, target.model))
            if price is None:
                return None
            total += price.usd(n, put, 0, got) / workload.height * requests
    return total
