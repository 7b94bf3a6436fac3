"""What one leg is to do: everything the worker process needs, as plain values. No key is in it: only the name of the
environment variable that holds it."""

from dataclasses import dataclass, field
from typing import Any

from storage.records import Price


@dataclass(frozen=True, slots=True)
class TargetSpec:
    name: str
    url: str
    model: str
    models: dict[str, str] = field(default_factory=dict)
    api_key_env: str = "GATEBENCH_API_KEY"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    extra_body: dict[str, Any] = field(default_factory=dict)
    token_param: str = "max_tokens"
    transport: str = "wire"


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """See `config.limits.HealthLimits`, which is where a user sets them."""

    suspect_lag_p99_ms: float = 5.0
    invalid_lag_p99_ms: float = 20.0
    suspect_loop_lag_p99_ms: float = 10.0
    invalid_loop_lag_p99_ms: float = 50.0
    suspect_cpu_share: float = 0.85
    invalid_cpu_share: float = 0.97
    invalid_achieved_share: float = 0.95
    ceiling_share: float = 0.8
    suspect_gc_share: float = 0.02
    suspect_files_share: float = 0.9
    suspect_ports_share: float = 0.8


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    enabled: bool = True
    share: float = 0.5
    window_s: float = 10.0
    min_requests: int = 20


@dataclass(frozen=True, slots=True)
class BudgetSpec:
    """What is left of the run's budget when this leg begins; None: no limit. `prices` by model, see `price_of`."""

    requests: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    wall_s: float | None = None
    prices: dict[str, Price] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StressSpec:
    """One of the two: Poisson arrivals at a rate, or so many requests at a time. Seconds count from t0; the last due
    request of the replay ends it at the latest."""

    rate_rps: float | None = None
    users: int = 0
    from_s: float = 0.0
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class LegSpec:
    run_id: str
    trial_id: str
    leg_id: str
    attempt: str
    block: int
    target: TargetSpec
    series: str
    level: int  # closed loop: concurrent users; open loop: 0
    loop: str  # "closed" | "open"
    folder: str  # where part-*.parquet and leg.json go, absolute
    workload: str  # Parquet of arrivals, absolute
    workload_id: str
    seed: int
    requests: int = 0  # closed loop: measured requests; open loop: as many as the schedule holds
    rate_rps: float | None = None  # open loop at a rate; None: the workload's own arrivals
    duration_s: float | None = None  # with rate_rps
    warmup_s: float = 0.0  # with rate_rps: sent before the measured part, at the first rate
    cv: float | None = None  # with rate_rps: gaps are drawn, gamma with this spread (1: Poisson); None: evenly spaced
    to_rps: float | None = None  # with rate_rps: the rate changes linearly from rate_rps to this
    steps: tuple[tuple[float, float], ...] = ()  # with rate_rps: (rate, seconds) one after the other instead of it
    speed: float = 1.0  # recorded arrivals: 2 halves every gap
    scale: float = 1.0  # recorded arrivals: 2 sends twice as many in the same time, see `track.scale`
    max_idle_gap_s: float | None = None  # recorded arrivals: longer gaps are cut to this, in recorded time
    loop_s: float | None = None  # recorded arrivals: played again and again for so long
    sessions: bool = False  # a turn waits for the turn before it, see `schedule.Schedule`; a rate counts sessions
    think_s: float | None = None  # sessions: mean of drawn (exponential) think times; None: as recorded
    stress: StressSpec | None = None  # recorded arrivals: load on top of them
    spin: bool = False  # open loop: spend a core on starting within microseconds
    stream: bool | None = None  # None: as each arrival was
    stream_label: str = "main"
    tokens_per_word: float = 1.0  # of our prompts' words, as the target counts them
    max_in_flight: int = 1000
    on_full: str = "queue"  # queue | drop | abort
    timeouts_s: tuple[float, float, float, float] = (10.0, 120.0, 60.0, 600.0)  # connect, first byte, idle, total
    drain_s: float = 30.0
    flush_s: float = 1.0
    ceiling_rps: float | None = None  # calibrated, of one worker; None: not yet known
    shard: int = 0  # which stripe of the leg this worker has
    shards: int = 1
    health: HealthLimits = HealthLimits()
    breaker: BreakerSpec = BreakerSpec()
    budget: BudgetSpec = BudgetSpec()
