"""The nouns of gatebench. Standard library only; everybody may import this, it imports nobody.

Times are integer nanoseconds on one monotonic clock, `_ns` in the name; the wall clock only labels.
Absence is None: never -1, 0 or NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

LEG_SCHEMA = "gatebench.leg/1"
CONTROL = "control"  # the reserved name of the control target
MAIN, STRESS = "main", "stress"  # which stream a request belongs to: the workload itself, or load laid on top of it


class Failure(StrEnum):
    """Why a request is not ok. None in a sample means ok; every attempt ends in exactly one of these or in ok."""

    DNS = "dns"
    CONNECT = "connect"
    LOCAL = "local"  # out of ports or descriptors: ours, so the leg is invalid
    TLS = "tls"
    HTTP_3XX = "http_3xx"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_BYTE = "timeout_first_byte"
    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_TOTAL = "timeout_total"
    RESET = "reset"
    CLOSED_EARLY = "closed_early"
    PROTOCOL = "protocol"
    RATE_LIMITED = "rate_limited"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    STREAM_ERROR = "stream_error"
    BAD_JSON = "bad_json"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    CANCELLED = "cancelled"
    CENSORED = "censored"  # still in flight at the drain deadline, kept at its age


# A latency quantile is over these and the ok ones: dropping timeouts would make p95 improve under overload.
SLOW_FAILURES = frozenset(
    {
        Failure.TIMEOUT_CONNECT,
        Failure.TIMEOUT_FIRST_BYTE,
        Failure.TIMEOUT_IDLE,
        Failure.TIMEOUT_TOTAL,
        Failure.CENSORED,
    }
)


class Phase(StrEnum):
    WARMUP = "warmup"
    MEASURED = "measured"
    COOLDOWN = "cooldown"


class Validity(StrEnum):
    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


class Attempt(StrEnum):
    FIRST = "first"
    CONFIRM = "confirm"
    PROBE = "probe"  # looks for the ceiling: levels beyond the plan, and rates (series load, levels 1, 2, … in order)


class Series(StrEnum):
    SWEEP = "sweep"  # closed loop at a level
    REPLAY = "replay"  # recorded arrivals, level 0
    LOAD = "load"  # a constant or drawn rate, level 0
    STRESS = "stress"  # estimates of what was laid on top of a replay, level 0; no leg is one, and none is judged
    CALIBRATION = "calibration"  # the null responder; never judged


class Word(StrEnum):
    """A verdict."""

    REGRESSED = "regressed"
    UNCHANGED = "unchanged"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class RunStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One captured request of a workload: what was asked, when, and what is known of how it went."""

    offset_ns: int
    model: str
    input_tokens: int | None
    output_tokens: int | None
    max_output_tokens: int | None
    stream: bool
    session: str | None = None
    user: str | None = None
    first_token_ns: int | None = None  # recorded first token - recorded start
    duration_ns: int | None = None  # recorded end - recorded start
    failure: str | None = None  # the gateway's own error code or class, None if it succeeded
    cache_hit: bool | None = None
    messages: str | None = None  # the prompt as JSON, only in a workload captured with privacy "text"
    prefix_blocks: tuple[int, ...] | None = None  # its prompt's blocks of tokens, in order: equal numbers, equal text


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log as it lay on disk when it was read."""

    path: str  # absolute
    size: int
    mtime_ns: int
    sha256: str  # of its bytes


# The columns of `runs/<run>/<leg>/part-*.parquet`, in order, with their types.
SAMPLE_COLUMNS: dict[str, str] = {
    "trial_id": "str",
    "leg_id": "str",
    "attempt": "str",
    "block": "i32",
    "target": "str",
    "level": "i32",
    "seq": "i64",
    "shard": "i32",
    "stream_label": "str",
    "phase": "str",
    "intended_ns": "i64",
    "sent_ns": "i64",
    "dns_ns": "i64",
    "connected_ns": "i64",
    "tls_ns": "i64",
    "headers_ns": "i64",
    "first_token_ns": "i64",
    "first_answer_ns": "i64",
    "last_token_ns": "i64",
    "end_ns": "i64",
    "chunk_gaps_us": "list[u32]",
    "stream": "bool",
    "input_tokens": "i64",
    "output_tokens": "i64",  # told in usage; null in a stream: its chunks count, one more than `chunk_gaps_us` has gaps
    "request_bytes": "i64",
    "response_bytes": "i64",
    "status": "i32",
    "failure": "str",
    "finish_reason": "str",
    "model_asked": "str",
    "model_served": "str",
    "cache_hit": "bool",
    "fallbacks": "i32",
    "attempts": "i32",
    "retry_after_s": "f64",
    "request_id": "str",
    "connection_reused": "bool",
    "resends": "i32",
    "cached_tokens": "i64",  # of input_tokens, those the provider says it had in its prompt cache
}


class Sample(NamedTuple):
    """What the engine learns of one attempted request. A tuple, not a dataclass: one is made per request, in the
    measured interval, and a frozen dataclass of this width costs three times as much.

    The columns that are the same for a whole leg (ids, attempt, block, target, level) are added when rows are written.
    Nanoseconds count from the leg's t0.
    """

    seq: int
    phase: str
    stream_label: str
    intended_ns: int
    sent_ns: int
    dns_ns: int | None
    connected_ns: int | None
    tls_ns: int | None
    headers_ns: int | None
    first_token_ns: int | None
    first_answer_ns: int | None
    last_token_ns: int | None
    end_ns: int
    chunk_gaps_us: list[int] | None
    stream: bool
    input_tokens: int | None
    output_tokens: int | None
    request_bytes: int
    response_bytes: int
    status: int | None
    failure: str | None
    finish_reason: str | None
    model_asked: str
    model_served: str | None
    cache_hit: bool | None
    fallbacks: int | None
    attempts: int | None
    retry_after_s: float | None
    request_id: str | None
    connection_reused: bool
    resends: int
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars: of a million tokens of each kind, and of one accepted request. `cached_input` None: as `input`."""

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None
    request: float = 0.0

    def usd(
        self, accepted: int, input_tokens: int | None, cached_tokens: int | None, output_tokens: int | None
    ) -> float:
        """Of `accepted` requests (2xx) and their tokens; tokens that nobody told cost nothing."""
        put, cached = (0 if n is None else n for n in (input_tokens, cached_tokens))
        got = 0 if output_tokens is None else output_tokens
        cached = min(cached, put)
        of_cached = self.input if self.cached_input is None else self.cached_input
        return accepted * self.request + ((put - cached) * self.input + cached * of_cached + got * self.output) / 1e6


def price_of(prices: Mapping[str, Price], served: str | None, asked: str) -> Price | None:
    """The price of the model that answered, else of the one asked for, else of `*`; None: no price is known."""
    for name in (served, asked, "*"):
        if name is not None and name in prices:
            return prices[name]
    return None


@dataclass(frozen=True, slots=True)
class Health:
    """Was the instrument itself the limit? Measured inside the workers that sent the load; lags of several workers are
    pooled, of everything else the worst worker stands."""

    schedule_lag_p50_ms: float | None
    schedule_lag_p99_ms: float | None
    schedule_lag_max_ms: float | None
    loop_lag_p99_ms: float | None  # how late the event loop woke for a timer of its own
    cpu_share: float | None  # CPU seconds of the worker / wall seconds
    offered_rps: float | None  # open loop only
    achieved_rps: float | None
    gc_pauses: int
    open_files: int | None
    open_files_limit: int | None
    schedule_lag_over: float | None = None  # share of requests that left later than the limits call suspect
    loop_lag_max_ms: float | None = None
    gc_pause_ms: float | None = None  # all pauses together
    gc_share: float | None = None  # of the wall time
    ports: int | None = None  # TCP sockets of the machine, those in TIME_WAIT too
    ports_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker's part in a leg. A worker that was lost has `lost` True, the rows it left, and no health."""

    shard: int
    name: str  # host and process
    rows: int
    measured: int
    health: Health | None
    lost: bool = False
    late_ms: float | None = None  # began this long after the agreed instant
    clock_offset_ms: float = 0.0  # its monotonic clock - ours; 0 on the same machine
    clock_uncertainty_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Leg:
    """`leg.json`: one (attempt, block, target, level), written when the leg is closed. The book can be rebuilt from
    these and the Parquet parts beside them."""

    run_id: str
    trial_id: str  # target x series x level over all blocks of an attempt
    leg_id: str
    attempt: str
    block: int
    target: str
    series: str
    level: int
    loop: str  # "closed" | "open"
    stream: bool
    url: str
    model: str
    seed: int
    workload_id: str
    started_at: str  # wall clock, ISO 8601 with zone: a label
    duration_s: float
    scheduled: int  # requests this leg meant to send in its measured phase
    rows: int  # rows on disk, all phases
    measured: int
    ok: int  # measured and ok
    failed: dict[str, int]  # measured, by failure kind
    dropped: int
    lost: int  # scheduled - measured, when a leg ended before its time
    validity: str
    reasons: list[str]
    stopped: str | None  # "budget", "breaker", "interrupted"; None: ran to its end, or lost a worker on the way
    health: Health
    target_headers: dict[str, str] = field(default_factory=dict)  # allow-listed: server, via, x-…-version
    engine_version: int = 1
    schema: str = LEG_SCHEMA
    workers: list[Worker] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the same engine, with the same shape of request, sees of a responder that answers at once."""

    stream: bool
    floor_p50_ms: float
    floor_p99_ms: float
    ceiling_rps: float
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    transport: str = "wire"  # wire | httpx


def shapes_of(calibrations: Sequence[Calibration], transport: str, streamed: float) -> list[tuple[float, Calibration]]:
    """(share, calibration) of each shape of request in a mix; none unless every shape was calibrated. `streamed`: the
    share of streams."""
    shares = {stream: share for stream, share in ((True, streamed), (False, 1.0 - streamed)) if share > 0}
    found = [(shares[c.stream], c) for c in calibrations if c.transport == transport and c.stream in shares]
    return found if len(found) == len(shares) else []


def ceiling_of(shapes: Sequence[tuple[float, Calibration]]) -> float | None:
    """Requests a second of a mix of shapes: each request takes the time that its own shape's ceiling leaves it."""
    if not shapes or any(c.ceiling_rps <= 0 for _, c in shapes):
        return None
    return 1.0 / sum(share / c.ceiling_rps for share, c in shapes)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the requests of one leg to one model took, warm-up and cool-down included. Tokens are those the target
    told; `unknown`: answered requests that told none. `usd` None: no price is known for the model."""

    leg_id: str
    attempt: str
    target: str
    series: str
    level: int
    model: str  # that answered; of a request without an answer the one asked for
    requests: int
    unknown: int
    input_tokens: int
    cached_tokens: int  # of the input tokens
    output_tokens: int
    usd: float | None
    wasted_requests: int  # failed, although tokens were spent on them
    wasted_output_tokens: int
    wasted_usd: float | None


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What a gateway did with the measured requests of one (attempt, target, series, level), in its own words:
    statuses and headers. Counts are of requests; `…_known`: how many answers said anything of it at all."""

    attempt: str
    target: str
    series: str
    level: int
    requests: int
    ok: int
    streamed: int
    statuses: dict[str, int]
    failures: dict[str, int]
    finish_reasons: dict[str, int]  # of ok answers
    rate_limited: int  # 429
    retry_after_known: int
    retry_after_p50_s: float | None
    retry_after_max_s: float | None
    fallbacks: int  # ok answers for which the gateway turned to another deployment or model
    fallbacks_known: int
    retried: int  # ok answers for which it tried again
    retried_known: int
    cache_hits: int  # ok answers from its cache
    cache_known: int
    other_model: int  # ok answers by another model than asked; a dated name of the same model is the same
    models_known: int
    models: list[tuple[str, str, int]]  # asked, served, ok answers; the most frequent first
    counted: int = 0  # ok streams that told no usage: their chunks are counted in place of output tokens


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that knows how far to trust it. `lower` and `upper` are a 95 % interval, None where the blocks
    are too few; `at_least`: the quantile fell on a timed-out or censored request, so the truth is `point` or more."""

    point: float
    lower: float | None
    upper: float | None
    n: int  # requests
    blocks: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One estimate with its address. Units: seconds, requests a second, tokens a second; for `errors` a share."""

    attempt: str
    target: str
    series: str
    level: int
    metric: (
        str  # latency_p50 … latency_mean, ttft_p50 …, tpot_…, itl_…, throughput, goodput, output_tokens_per_s, errors
    )
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Verdict:
    """effect = ratio - 1 (up is worse: throughput is turned round); level None is the mean over levels."""

    target: str
    series: str
    metric: str
    level: int | None
    effect: float | None
    lower: float | None
    upper: float | None
    p: float | None
    detectable: float | None  # the smallest effect that tonight could have seen
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drift:
    """Where the sum of small moves stands after a night: of the mean over levels, or of the only level of a series."""

    target: str
    series: str
    metric: str
    night: int  # their order; nights without a measurement are not counted
    effect: float  # tonight's ratio - 1 against the anchor; up is worse
    z: float  # the same in standard deviations of a night
    c: float  # max(0, before + min(z, cap) - allowance)
    onset: int | None  # the last night on which c was 0; None while it is
    slope: float | None  # ratio - 1 a night since the onset (Theil-Sen); None below three nights
    calm: int  # nights running that looked like the anchor again, since it alarmed
    alarm: bool


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A night on which a number changed its level, found by looking back. `index`: the first night after it; `before`,
    `after`: mean levels on its two sides."""

    index: int
    before: float
    after: float

    @property
    def effect(self) -> float:
        return self.after / self.before - 1


@dataclass(frozen=True, slots=True)
class Symptom:
    """What was last told of one metric of an incident: its mean over levels, else its worst level."""

    metric: str
    level: int | None
    effect: float | None  # None: errors where there were none before
    told: float | None  # the effect that was last told; growth counts from there


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that got worse and stayed so: one segment, one family of metrics (latency, ttft, throughput, errors).

    open -> acknowledged -> accepted (a new segment) or fixed (nights inside the interval again).
    """

    incident_id: str
    segment_id: str
    target: str
    series: str
    family: str
    status: str  # open | acknowledged | accepted | fixed
    opened_run: str
    opened_at: str  # started_at of that run
    since: str  # started_at of the night on which it began: of the run itself, or the onset of a drift
    against: str  # the nights it was compared with, in words
    symptoms: list[Symptom]
    inside: int  # nights so far that were inside the interval again
    last_run: str  # the last run that counted for it
    regressed_run: str  # the last run in which it was seen
    closed_at: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state, as the book keeps it. `incident_id` None: a segment that opened by itself."""

    incident_id: str | None
    segment_id: str
    run_id: str
    action: str  # opened | joined | grew | acknowledged | accepted | fixed | new_normal
    what: str  # one sentence
    who: str
    why: str
    said_at: str
    told: bool  # worth a message


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two targets that were measured in the same blocks; level None is the mean over levels.

    `effect` and its 95 % interval are ratio - 1 (up is worse: throughput is turned round; of output tokens up is more).
    `by…`: candidate - baseline in the metric's own unit, as it moved. For `errors` the values are shares.
    """

    baseline: str
    candidate: str
    kind: (
        str  # "candidate": judged against the baseline; "overhead": through a gateway against straight to its upstream
    )
    metric: str
    level: int | None
    baseline_value: float | None
    candidate_value: float | None
    effect: float | None
    lower: float | None
    upper: float | None
    by: float | None
    by_lower: float | None
    by_upper: float | None
    p: float | None  # one-sided, of the effect being `min_effect` or less
    detectable: float | None  # the effect that these blocks would have shown four times out of five
    again: float | None  # the effect in the second measurement
    blocks: int
    n: int  # requests of both
    at_least: bool  # a quantile fell on a request that never ended: the candidate's value is that or more
    leads: bool  # what the comparison is judged by
    verdict: str  # a Word; empty: shown beside, not judged
    reason: str


@dataclass(frozen=True, slots=True)
class Slo:
    """`p95(latency){level=10} < 300ms` taken apart. Unscoped (level None) it judges the replay and defines goodput."""

    text: str
    stat: str  # p50 p90 p95 p99 mean rate
    quantity: str  # latency ttft tpot itl errors
    threshold: float  # seconds, or a share
    level: int | None


@dataclass(frozen=True, slots=True)
class SloResult:
    """ok None: there was nothing to judge it by, which never passes."""

    slo: Slo
    target: str
    series: str
    level: int
    point: float | None
    ok: bool | None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Highest throughput sustained. `reached` False: throughput still rose at the top level, read "at least"."""

    target: str
    throughput_rps: Estimate
    concurrency: int
    reached: bool
    limited_by: str  # capacity | quota | errors | slo | budget | generator | none
    knee: int | None = None


@dataclass(frozen=True, slots=True)
class RateProbe:
    """One rate that was tried in an open loop: the leg it is of, and whether the target kept up with it.

    `growth`: by how much a response came later for each second that went by, ± `error` (one standard error); a target
    that keeps up has 0. `achieved_rps` = offered / (1 + growth), at most what was offered: what it finished a second.
    """

    target: str
    step: int  # 1, 2, …: the leg's level
    rate_rps: float  # offered: of the schedule's measured part
    achieved_rps: float
    growth: float
    error: float
    errors: float  # share of requests that failed, rate-limited ones among them
    latency_p95_s: float | None  # from when they were due; failed fast: not among them
    n: int
    sustained: bool | None  # None: says nothing of the target, for we were the limit or it was cut short
    limit: str  # what did not hold: capacity | quota | errors | slo | budget | generator; none: it was sustained
    why: str


@dataclass(frozen=True, slots=True)
class Sustained:
    """The highest rate that a target kept up with in an open loop, inside its objectives.

    `rate_rps` None: it kept up with none that was tried. Its interval reaches up to the lowest rate it did not keep up
    with. `reached` False: read "at least", for nothing higher was tried, or we were the limit.
    """

    target: str
    rate_rps: Estimate | None
    reached: bool
    limited_by: str  # as of a Ceiling
    confirmed: bool  # kept up with it twice
    why: str
    probes: list[RateProbe]
    objectives: list[Slo] = field(default_factory=list)  # what a rate had to keep


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a flow, as the book keeps it."""

    run_id: str
    flow: str  # nightly | sweep | replay | load | …
    plan_name: str
    status: str
    scheduled: bool  # only a scheduled run enters a baseline by itself
    started_at: str
    ended_at: str | None
    verdict: str | None
    exit_code: int | None
    reason: str | None
    workload_id: str | None
    seed: int
    fingerprint: str | None
    plan: dict[str, Any]  # what was asked, without secrets
    environment: dict[str, Any]  # versions, machine, data paths: everything the result depends on
    path: str  # folder of the samples, absolute
    report: str | None = None

    @property
    def resumed(self) -> bool:
        """Was it measured in more than one go? Such a run is judged, and never enters a baseline."""
        return bool(self.environment.get("resumed"))


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard deviation on the log scale (0.02: two per cent) with its 95 % interval, None where none can be had."""

    sd: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class NoisePart:
    """How much one number of a target that did not change differs from one measurement to the next, and why.

    None: that source cannot be told apart, and is part of the one to its left. `block` and `request` are of one block;
    `night` is of a whole night: host² + process² + (block² + request²) ÷ blocks of a night.
    """

    metric: str
    level: int | None  # None: the mean over levels
    host: Spread  # what a run has to itself: the machine, the upstream, the hour
    process: Spread | None  # what worker processes have to themselves
    block: Spread
    request: Spread | None  # the requests of a block are a sample
    night: Spread


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the gate does on such a setup, simulated. Effects are ratio − 1; None: not even twice as slow is seen."""

    nights: int  # of history
    false_alarms: float  # share of quiet nights called regressed
    error: float  # its Monte-Carlo error, one sd
    visible: float | None  # slower in everything, by so much: seen on nine first nights of ten
    visible_tail: float | None  # the same of p95 and p99 alone


@dataclass(frozen=True, slots=True)
class Noise:
    """An A/A study: how noisy a setup is, and what the gate makes of that. `runs`: what it was estimated from."""

    noise_id: str
    made_at: str
    source: str  # measured | history
    target: str
    workload_id: str
    fingerprint: str
    runs: list[str]
    groups: int  # runs or nights that the host's luck was told from
    processes: int  # worker processes a run
    blocks: int  # a night
    dropped: int  # blocks that were not whole
    parts: list[NoisePart]
    control: NoisePart | None  # our own responder, measured in the same blocks: the machine without the target
    outlook: list[Outlook]
    warnings: list[str]  # why the setup is too noisy, or too little is known of it, to judge
    advice: str


def to_json(record: Any) -> dict[str, Any]:
    """A record as a dict of plain values."""
    return asdict(record)
