"""What to measure: targets, levels, limits, objectives. Frozen; read from TOML; an unknown key is refused by name."""

import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from config.settings import Timeouts

SHIPPED = Path(__file__).parent / "plans"
KEY_NAME = re.compile(r"^GATEBENCH_(API_KEY|KEY_\w+)$")
SLO_TEXT = re.compile(
    r"^\s*(?P<stat>p50|p90|p95|p99|mean|rate)\s*\(\s*(?P<quantity>latency|ttft|tpot|itl|errors)\s*\)"
    r"\s*(?:\{\s*level\s*=\s*(?P<level>\d+)\s*\})?\s*<=?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%)\s*$"
)
UNITS = {"ms": 1e-3, "s": 1.0, "%": 1e-2}
SPAN_TEXT = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h)?\s*$")
STRESS_NAMES = {
    "rate": "rate_rps",
    "rate_rps": "rate_rps",
    "concurrency": "concurrency",
    "from": "from",
    "until": "until",
}
SPAN_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# Options of a replay that came later count only where they are set, so that older nights stay comparable.
_LATER = ("max_idle_gap_s", "scale", "loop_s", "sessions", "spin", "stress")


class PlanError(ValueError):
    """A plan that cannot be used: what, where and how to mend it."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Target(Part):
    """One OpenAI-compatible endpoint."""

    name: str = Field("target", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Short name, used in tables")
    url: str = Field(description="OpenAI base URL, as in http://127.0.0.1:4000/v1")
    model: str = Field(description="Model to ask for, where `models` has no better answer")
    models: dict[str, str] = Field(default_factory=dict, description="Model in the workload -> model to ask for")
    api_key_env: str = Field("GATEBENCH_API_KEY", description="Environment variable that holds the key")
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    token_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    transport: Literal["wire", "httpx"] = "wire"
    direct: bool = Field(False, description="The upstream itself, without a gateway in front")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in ("control", "null"):
            raise ValueError(f"{value!r} is the name of gatebench's own responder; choose another")
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value!r} is not an http(s) URL; write it like http://127.0.0.1:4000/v1")
        if parts.username or parts.password:
            raise ValueError("a key does not belong in a URL; put it into the environment variable of api_key_env")
        if parts.query or parts.fragment:
            raise ValueError("a base URL ends with its path, as in /v1; what comes after a ? belongs into query")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _no_secret_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.search(r"authorization|api[-_]?key|token|secret|cookie", name, re.I):
                raise ValueError(
                    f"header {name!r} looks like a secret; the key comes from api_key_env, never from a plan"
                )
        return value

    @field_validator("query")
    @classmethod
    def _no_secret_query(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.search(r"auth|api[-_]?key|^key$|token|secret|password|^sig(nature)?$", name, re.I):
                raise ValueError(
                    f"query {name!r} looks like a secret; the key comes from api_key_env, never from a plan"
                )
        return value

    @field_validator("extra_body")
    @classmethod
    def _what_the_workload_says(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in ("model", "messages", "stream", "stream_options"):
            if name in value:
                raise ValueError(f"{name!r} is what the workload and the plan decide; leave it out of extra_body")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _own_keys_only(cls, value: str) -> str:
        if not KEY_NAME.match(value):
            raise ValueError(f"{value!r}: must be GATEBENCH_API_KEY or start with GATEBENCH_KEY_")
        return value

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def api_key(self) -> SecretStr | None:
        """The key itself: read when a request is built, kept nowhere. A line break at its end is none of it."""
        key = os.environ.get(self.api_key_env, "").strip()
        return SecretStr(key) if key else None


class Capture(Part):
    """Where real traffic is read from, and how much of it is kept."""

    sources: tuple[str, ...] = ()
    format: str = "auto"
    privacy: Literal["counts", "structure", "text"] = "counts"
    map: str | None = Field(None, description="Columns of a table instead of a format, as of `gatebench capture --map`")
    spread: bool = Field(False, description="Lay arrivals with coarse stamps out within their step")


class Sweep(Part):
    """Closed loop: `requests` measured at each level, over `blocks` passes in seeded random order."""

    levels: tuple[int, ...] = Field((1, 10, 50, 100), description="Concurrent requests")
    requests: int = Field(1000, ge=1, description="Measured requests a level, over all blocks")
    blocks: int = Field(5, ge=1, le=50)
    stream: bool = True
    extend_to: int = Field(
        0, ge=0, description="Double the top level up to this while throughput still rises; 0: never"
    )

    @field_validator("levels")
    @classmethod
    def _levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1 or len(set(value)) != len(value):
            raise ValueError("levels are different whole numbers from 1 up")
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _enough(self) -> "Sweep":
        per_leg = self.requests // self.blocks
        if self.requests % self.blocks:
            raise ValueError(f"requests ({self.requests}) must be a multiple of blocks ({self.blocks})")
        if per_leg < 2 * max(self.levels):
            need = 2 * max(self.levels) * self.blocks
            raise ValueError(
                f"{per_leg} requests a block are too few at {max(self.levels)} concurrent (at least twice as many); "
                f"use requests = {need}, or fewer blocks, or lower levels"
            )
        return self

    @property
    def requests_per_leg(self) -> int:
        return self.requests // self.blocks


class Ceiling(Part):
    """Open loop: the highest rate that a target keeps up with, by bisection. Each is tried for `duration_s`, and longer
    where that would be fewer than `requests`."""

    enabled: bool = Field(False, description="Look for it in every run that sweeps")
    duration_s: float = Field(10.0, gt=0, le=3600, allow_inf_nan=False, description="Seconds of each rate")
    requests: int = Field(200, ge=50, description="Least requests of each rate")
    start_rps: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Begin here, not at the sweep's ceiling"
    )
    max_rps: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Never try more; absent: a tenth beyond what the sweep reached"
    )
    tolerance: float = Field(0.02, ge=0.005, le=0.5, description="Share by which a rate not kept up with lies above")
    achieved: float = Field(0.98, gt=0.5, lt=1, description="Share of the offered rate that must be finished")
    errors: float = Field(0.01, ge=0, lt=1, description="Share of requests that may fail, where no objective says")
    arrivals: Literal["constant", "poisson"] = "constant"
    most: int = Field(16, ge=2, le=100, description="Rates tried at most")
    max_in_flight: int = Field(1000, ge=1, description="Requests under way at which a rate is given up")

    @model_validator(mode="after")
    def _order(self) -> "Ceiling":
        if self.start_rps is not None and self.max_rps is not None and self.start_rps > self.max_rps:
            raise ValueError(f"start_rps ({self.start_rps:g}) lies above max_rps ({self.max_rps:g})")
        if self.start_rps is not None and self.max_rps is None:
            raise ValueError("start_rps is tried without a sweep before it, so max_rps must say how far to go")
        return self


class Stress(Part):
    """Synthetic load on top of a replay, told apart from it and not judged: at a rate (Poisson arrivals), or so many
    requests at a time. Both ends count in the replay's own time, as in 30s or 2m; the replay's end ends it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    rate_rps: float | None = Field(None, gt=0, allow_inf_nan=False, description="Requests a second")
    concurrency: int | None = Field(None, ge=1, description="Requests at a time, the next when one has ended")
    from_: str = Field("0s", alias="from", description="When it begins")
    until: str = Field("", description="When it ends; empty: with the replay")

    @model_validator(mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """`rate=50,from=1m,until=5m` and `concurrency=8` are understood too, for a command line."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(sep and name.strip() in STRESS_NAMES for name, sep, _ in pairs):
            raise ValueError(f"cannot read {value!r}; write it like rate=50,from=1m,until=5m or concurrency=8")
        return {STRESS_NAMES[name.strip()]: text.strip() for name, _, text in pairs}

    @model_validator(mode="after")
    def _one_way(self) -> "Stress":
        if (self.rate_rps is None) == (self.concurrency is None):
            raise ValueError("stress has a rate_rps or a concurrency, one of them")
        begin, end = self.from_s, self.until_s
        if end is not None and end <= begin:
            raise ValueError(f"stress ends ({self.until}) before it begins ({self.from_})")
        return self

    @property
    def from_s(self) -> float:
        return _span_s(self.from_)

    @property
    def until_s(self) -> float | None:
        return _span_s(self.until) if self.until else None


def _span_s(text: str) -> float:
    match = SPAN_TEXT.match(text)
    if not match:
        raise ValueError(f"cannot read {text!r}; write a time like 30s, 2m or 1h")
    return float(match["number"]) * SPAN_UNITS[match["unit"] or "s"]


class Replay(Part):
    """Open loop: the workload with its recorded timing."""

    enabled: bool = True
    speed: float = Field(1.0, gt=0, description="2 plays twice as fast: gaps are halved")
    window: str = Field("", description="Part of the workload, as in 0:10m; empty: all of it")
    max_idle_gap_s: float | None = Field(None, gt=0, description="Longer gaps are cut to this, in recorded time")
    scale: float = Field(
        1.0, gt=0, le=1000, description="2 sends twice as many in the same time: shifted copies, thinned if not whole"
    )
    loop_s: float | None = Field(None, gt=0, description="Played again and again for so long")
    sessions: bool = Field(False, description="A turn waits for the turn before it and its recorded think time")
    spin: bool = Field(False, description="Spend a core on starting within microseconds")
    max_in_flight: int = Field(1000, ge=1)
    on_full: Literal["queue", "drop", "abort"] = "queue"
    stress: Stress | None = Field(None, description='Synthetic load on top, as in { rate_rps = 50, from = "1m" }')

    @field_validator("stress", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "" else value


class Budget(Part):
    """Hard limits of one run; None: no limit."""

    requests: int | None = Field(None, ge=1)
    output_tokens: int | None = Field(None, ge=1)
    usd: float | None = Field(None, gt=0)
    wall_s: float | None = Field(None, gt=0)
    refuse_over: float = Field(
        2.0, ge=0, description="Do not begin what is forecast to take more than so many times a limit; 0: begin anyway"
    )


class Breaker(Part):
    """Stop when more than `share` of the requests that ended in the last `window_s` failed."""

    enabled: bool = True
    share: float = Field(0.5, gt=0, le=1)
    window_s: float = Field(10.0, gt=0)
    min_requests: int = Field(20, ge=1)


class Price(Part):
    """US dollars a million tokens, and a request. `prices` has one for each model: of the answer, else the one asked
    for, else `"*"`."""

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)
    cached_input: float | None = Field(None, ge=0, description="Of input in the provider's cache; absent: as other")
    request: float = Field(0.0, ge=0, description="Dollars for each request")


class HealthLimits(Part):
    """Beyond `suspect_…` a leg is suspect, beyond `invalid_…` invalid: the generator was the limit."""

    suspect_lag_p99_ms: float = 5.0
    invalid_lag_p99_ms: float = 20.0
    suspect_loop_lag_p99_ms: float = 10.0
    invalid_loop_lag_p99_ms: float = 50.0
    suspect_cpu_share: float = 0.85
    invalid_cpu_share: float = 0.97
    invalid_achieved_share: float = 0.95
    ceiling_share: float = Field(0.8, description="Above this share of the calibrated ceiling a leg is invalid")
    suspect_gc_share: float = Field(0.02, description="Share of the time in pauses of the garbage collector")
    suspect_files_share: float = Field(0.9, description="Share of the file descriptors a worker may open")
    suspect_ports_share: float = Field(0.8, description="Share of the machine's local ports")


class Workers(Part):
    """How many worker processes send one leg together. Which machines they run on is a fact of the machine:
    GATEBENCH_DASK_SCHEDULER, else this one."""

    workers: Literal["auto"] | int = Field(
        "auto",
        description="auto: in an open loop as many as keep each below half of its calibrated ceiling, else one",
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        if value != "auto" and not (type(value) is int and 1 <= value <= 256):
            raise ValueError(f'{value!r}: write a number from 1 to 256, or "auto"')
        return value

    @property
    def count(self) -> int | None:
        """None: auto."""
        return None if self.workers == "auto" else self.workers


class Judge(Part):
    """How tonight is compared with the past."""

    min_effect: float = Field(0.03, ge=0, description="Changes below this are never called regressed")
    confirm: bool = Field(True, description="Measure a candidate once more before calling it regressed")
    history: int = Field(30, ge=3, le=365, description="Nights compared against")


class Control(Part):
    """The reference measured in the same blocks."""

    enabled: bool = True
    service_ms: float = Field(40.0, gt=0, description="Fixed service time of gatebench's own responder")
    url: str = Field("", description="A pinned reference build instead of our responder")
    model: str = "control"


class Alerts(Part):
    """Whom to tell is a fact of the machine (GATEBENCH_ALERT_URLS); when to tell stands here. `regressed`: once when an
    incident opens, again only when it spreads, grows or is fixed, and when better nights become the new normal."""

    on: tuple[Literal["regressed", "slo", "invalid", "failed"], ...] = ("regressed", "slo", "failed")


class Plan(Part):
    """Everything a night measures."""

    name: str = Field("adhoc", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    targets: tuple[Target, ...] = Field(min_length=1)
    workload: str = Field("", description="Parquet file, or the name of a pinned workload; empty: the built-in one")
    seed: int = 20260101
    slos: tuple[str, ...] = ()
    capture: Capture = Capture()
    sweep: Sweep = Sweep()
    ceiling: Ceiling = Ceiling()
    replay: Replay = Replay()
    timeouts: Timeouts = Timeouts()
    budget: Budget = Budget()
    breaker: Breaker = Breaker()
    prices: dict[str, Price] = Field(default_factory=dict)
    health: HealthLimits = HealthLimits()
    fleet: Workers = Workers()
    judge: Judge = Judge()
    control: Control = Control()
    alerts: Alerts = Alerts()

    @field_validator("slos")
    @classmethod
    def _slos(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_slo(text)
        return value

    @model_validator(mode="after")
    def _different_names(self) -> "Plan":
        names = [target.name for target in self.targets]
        if len(set(names)) != len(names):
            raise ValueError(f"targets must have different names: {', '.join(names)}")
        return self

    def only(self, target: str) -> "Plan":
        """The same plan for one of its targets."""
        chosen = tuple(t for t in self.targets if t.name == target)
        if not chosen:
            raise PlanError(
                f"plan {self.name!r} has no target {target!r}; it has {', '.join(t.name for t in self.targets)}"
            )
        return self.model_copy(update={"targets": chosen})

    def only_one(self, target: str | None) -> "Plan":
        """The same plan for the target of that name, or for the only one there is. Raises PlanError."""
        if target is None and len(self.targets) > 1:
            names = ", ".join(t.name for t in self.targets)
            raise PlanError(f"the plan has several targets ({names}); choose one with --target NAME")
        return self if target is None else self.only(target)

    def here(self, machine: Timeouts) -> "Plan":
        """The plan with this machine's timeouts where it names none of its own."""
        said = self.timeouts.model_dump(exclude_unset=True)
        return self.model_copy(update={"timeouts": Timeouts(**{**machine.model_dump(), **said})})

    def measuring(self) -> dict[str, Any]:
        """The fields that decide what is measured: runs are compared only where these are the same."""
        keep = self.model_dump(mode="json", include={"seed", "timeouts", "sweep", "replay", "control"})
        for name in _LATER:
            if keep["replay"].get(name) == Replay.model_fields[name].default:
                keep["replay"].pop(name, None)
        return keep


def parse_slo(text: str) -> tuple[str, str, float, int | None]:
    """(stat, quantity, threshold in seconds or as a share, level). Raises PlanError with an example."""
    match = SLO_TEXT.match(text)
    if not match:
        raise PlanError(
            f"cannot read the objective {text!r}; write it like 'p95(latency) < 500ms', "
            "'p95(ttft){level=10} < 300ms' or 'rate(errors) < 0.5%'"
        )
    stat, quantity, unit = match["stat"], match["quantity"], match["unit"]
    if (quantity == "errors") != (stat == "rate") or (quantity == "errors") != (unit == "%"):
        raise PlanError(f"{text!r}: errors are a rate in %, everything else a quantile or mean in ms or s")
    level = int(match["level"]) if match["level"] else None
    return stat, quantity, float(match["number"]) * UNITS[unit], level


def load_plan(path: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """The plan in a TOML file, or a shipped one by its name (nightly, quickstart, smoke), with `a.b=c` laid over it.

    Paths in the file are relative to the file, for a night runs in another folder; those in overrides stay as given.
    """
    file = Path(path)
    if not file.suffix and not file.exists():
        file = SHIPPED / f"{path}.toml"
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"no plan at {path}; `gatebench init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot read the plan {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{file}: not TOML: {error}") from None
    _anchor(raw, file.parent.absolute())
    for text in overrides:
        override(raw, text)
    return make_plan(raw, str(file))


def make_plan(raw: dict[str, Any], where: str) -> Plan:
    """A validated plan; every complaint names the field, and an unknown key its nearest known name."""
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        found = error.errors()
        # A tuple whose only item is refused is also called too short: that is no second mistake.
        causes = [
            e
            for e in found
            if not (e["type"] == "too_short" and any(e["loc"] == o["loc"][:1] != o["loc"] for o in found))
        ]
        raise PlanError(f"{where}: " + "; ".join(_complaint(e) for e in causes)) from None


def _anchor(raw: dict[str, Any], folder: Path) -> None:
    """Make the plan's paths absolute. A workload that is no file beside the plan may be a pinned name."""
    workload = raw.get("workload")
    if isinstance(workload, str) and workload and (folder / workload).is_file():
        raw["workload"] = str(folder / workload)
    capture = raw.get("capture")
    if isinstance(capture, dict) and isinstance(capture.get("sources"), list):
        capture["sources"] = [
            str(folder / Path(s).expanduser()) if isinstance(s, str) else s for s in capture["sources"]
        ]


def override(raw: dict[str, Any], text: str) -> None:
    """Lay `sweep.requests=100` or `targets.0.url=…` over the raw plan; the value is read as TOML, else as a string."""
    key, sep, value = text.partition("=")
    if not sep:
        raise PlanError(f"--set {text}: write it like sweep.requests=100")
    path = _path(key)
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value
    node: Any = raw
    *parents, last = path
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if isinstance(node, list):
            node[int(last)] = parsed
        else:
            node[last] = parsed
    except (ValueError, IndexError, TypeError, AttributeError):
        raise PlanError(f"--set {text}: the plan has no place {key!r}") from None


def _path(key: str) -> list[str]:
    """`prices."gpt-4.1".input` -> its parts; a name with a dot stands in quotes, as in TOML."""
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key.strip().split(".")
    parts = []
    while isinstance(node, dict):
        [(name, node)] = node.items()
        parts.append(name)
    return parts


def _complaint(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), _known(error["loc"][:-1]), n=1)
        return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _known(parents: Sequence[Any]) -> list[str]:
    """Field names of the model at this place of the plan."""
    model: type[BaseModel] = Plan
    for part in parents:
        if isinstance(part, int):
            continue
        inner = Target if part == "targets" else model.model_fields[str(part)].annotation
        inner = next((kind for kind in get_args(inner) if kind is not type(None)), inner)  # of `Stress | None`
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
