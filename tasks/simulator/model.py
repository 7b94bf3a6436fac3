"""What a simulated gateway is: capacity, latency, faults, seed. A configuration is one JSON object.

The truth of a simulator with S slots: it serves at most S / (mean realised hold) requests a second.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from storage.errors import UsageError

KEY_VARIABLE = "GATEBENCH_SIM_KEY"  # in the simulator's environment: the key it asks for
MAX_TOKENS = 131_072  # of one answer


class Distribution(StrEnum):
    CONSTANT = "constant"
    LOGNORMAL = "lognormal"
    EXPONENTIAL = "exponential"


class FaultKind(StrEnum):
    """How an answer goes wrong or another way. The first three are given at once and take no slot; the others hold a
    slot as usual. "Half way" is before token n // 2 of a stream. Of the last three the answer is right: they are what
    a gateway does of its own accord and tells in headers, those of LiteLLM."""

    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    ERROR = "error"  # the given status with an OpenAI error body
    RESET = "reset"  # the connection is reset (RST) before any header
    SLOW = "slow"  # the hold is multiplied by factor; the answer is right
    HALF_STREAM = "half_stream"  # closed half way, chunked encoding broken; not a stream: closed inside the body
    STALL = "stall"  # silent half way for stall_s, else for ever; not a stream: before the headers
    BAD_JSON = "bad_json"  # one event half way is no JSON, the rest is right; not a stream: the body is no JSON
    TRUNCATED = "truncated"  # clean end half way, no finish reason, no [DONE]; not a stream: body cut, its length right
    EMPTY = "empty"  # 200, finish reason "stop", no content
    ERROR_FRAME = "error_frame"  # 200, an error event half way, clean end; not a stream: 200 with an error body
    CACHE_HIT = "cache_hit"  # answered from the gateway's cache: no hold
    FALLBACK = "fallback"  # another model answers: the name of the one asked for, with "-fallback"
    RETRIED = "retried"  # the gateway tried the upstream twice: the hold is doubled


AT_ONCE = frozenset({FaultKind.RATE_LIMITED, FaultKind.ERROR, FaultKind.RESET})
OWN_DOING = frozenset({FaultKind.CACHE_HIT, FaultKind.FALLBACK, FaultKind.RETRIED})

_OWN: dict[FaultKind, tuple[str, ...]] = {
    FaultKind.SLOW: ("factor",),
    FaultKind.RATE_LIMITED: ("retry_after_s",),
    FaultKind.ERROR: ("status",),
    FaultKind.STALL: ("stall_s",),
}

# name -> (whole number?, lowest, highest, may be None)
_RANGES: dict[str, tuple[bool, float, float, bool]] = {
    "port": (True, 0, 65_535, False),
    "slots": (True, 0, 1_000_000, False),
    "service_ms": (False, 0, 3_600_000, False),
    "cv": (False, 0, 100, False),
    "first_token_ms": (False, 0, 3_600_000, True),
    "per_token_ms": (False, 0, 3_600_000, True),
    "slow_factor": (False, 0, 1_000_000, False),
    "queue_limit": (True, 0, 10_000_000, False),
    "seed": (True, 0, 2**63 - 1, False),
    "default_tokens": (True, 1, MAX_TOKENS, False),
    "share": (False, 0, 1, False),
    "factor": (False, 0, 1_000_000, False),
    "retry_after_s": (True, 0, 86_400, False),
    "status": (True, 400, 599, False),
    "stall_s": (False, 0, 86_400, True),
}


def _check_numbers(record: Any, where: str) -> None:
    """Every number of a record is of its type and in its range. Raises UsageError."""
    for field in fields(record):
        if field.name not in _RANGES:
            continue
        whole, low, high, optional = _RANGES[field.name]
        value = getattr(record, field.name)
        if value is None and optional:
            continue
        right_type = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right_type or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise UsageError(f"{where}: {field.name} is {value!r}; it must be {kind} from {low:.15g} to {high:.15g}")


def _refuse_unknown(keys: Sequence[str], known: Sequence[str], where: str) -> None:
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"{where}: unknown key {key!r}; {hint}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault and the share of requests, chosen by a seeded draw, that meet it."""

    kind: FaultKind
    share: float = 1.0
    factor: float = 2.0  # slow
    retry_after_s: int = 1  # rate_limited
    status: int = 500  # error
    stall_s: float | None = None  # stall; None: for ever

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", FaultKind(self.kind))
        except ValueError:
            near = difflib.get_close_matches(str(self.kind), [str(kind) for kind in FaultKind], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FaultKind)}"
            raise UsageError(f"unknown fault {self.kind!r}; {hint}") from None
        _check_numbers(self, f"fault {self.kind}")

    def to_dict(self) -> dict[str, Any]:
        """Kind, share and the parameters of this kind; plain values."""
        return {"kind": str(self.kind), "share": self.share} | {
            name: getattr(self, name) for name in _OWN.get(self.kind, ())
        }


def fault_from(raw: Mapping[str, Any] | str) -> Fault:
    """A fault from its dict or its text form. Raises UsageError."""
    if isinstance(raw, str):
        return parse_fault(raw)
    if not isinstance(raw, Mapping) or "kind" not in raw:
        raise UsageError(f"fault {raw!r}: write it as an object with kind, share and parameters")
    fault = Fault(raw["kind"])
    rest = {key: value for key, value in raw.items() if key != "kind"}
    _refuse_unknown(list(rest), ("share", *_OWN.get(fault.kind, ())), f"fault {fault.kind}")
    return Fault(fault.kind, **rest)


def parse_fault(text: str) -> Fault:
    """`slow:factor=1.5,share=0.1` or just `reset`. Raises UsageError with an example."""
    kind, _, rest = text.strip().partition(":")
    raw: dict[str, Any] = {"kind": kind.strip()}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        name, sep, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            sep = ""
        if not sep:
            raise UsageError(f"fault {text!r}: {part!r} is not name=number; write it like slow:factor=1.5,share=0.1")
        raw[name.strip()] = int(number) if number.is_integer() else number
    return fault_from(raw)


@dataclass(frozen=True, slots=True)
class SimConfig:
    """Everything that decides how the simulator behaves. Milliseconds are of the mean.

    A stream holds its slot for first_token_ms + per_token_ms * (tokens - 1) where these are given, else for
    service_ms with the first token at 30 % of it. Every hold is multiplied by slow_factor and by a draw of mean 1.
    """

    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    slots: int = 32  # 0: unlimited
    service_ms: float = 40.0
    distribution: Distribution = Distribution.CONSTANT
    cv: float = 0.5  # standard deviation / mean of lognormal
    first_token_ms: float | None = None
    per_token_ms: float | None = None
    slow_factor: float = 1.0
    queue_limit: int = 0  # waiting requests beyond which the answer is 429; 0: unlimited
    models: tuple[str, ...] = ()  # empty: every model is known
    seed: int = 1
    default_tokens: int = 16
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        _check_numbers(self, "simulator")
        try:
            object.__setattr__(self, "distribution", Distribution(self.distribution))
        except ValueError:
            known = ", ".join(Distribution)
            raise UsageError(f"simulator: distribution {self.distribution!r}; known are {known}") from None
        if not isinstance(self.host, str) or not self.host:
            raise UsageError(f"simulator: host is {self.host!r}; write it like 127.0.0.1")
        if (self.first_token_ms is None) != (self.per_token_ms is None):
            raise UsageError("simulator: first_token_ms and per_token_ms are given together or not at all")
        if not all(isinstance(model, str) and model for model in self.models):
            raise UsageError(f"simulator: models are names, not {self.models!r}")
        for slow in (True, False):
            total = sum(fault.share for fault in self.faults if (fault.kind is FaultKind.SLOW) is slow)
            if total > 1 + 1e-9:
                raise UsageError(f"simulator: the shares of faults add up to {total:.6g}; they are parts of 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "distribution": str(self.distribution),
            "models": list(self.models),
            "faults": [fault.to_dict() for fault in self.faults],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "SimConfig":
        """Raises UsageError on an unknown key or a value out of range."""
        values = dict(raw)
        _refuse_unknown(list(values), [field.name for field in fields(cls)], "simulator")
        for name in ("models", "faults"):
            if name in values and not isinstance(values[name], list | tuple):
                raise UsageError(f"simulator: {name} must be a list, not {values[name]!r}")
        if "models" in values:
            values["models"] = tuple(values["models"])
        if "faults" in values:
            values["faults"] = tuple(f if isinstance(f, Fault) else fault_from(f) for f in values["faults"])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str | bytes) -> "SimConfig":
        return cls.from_dict(json_object(text, "simulator"))

    def changed(self, changes: Mapping[str, Any]) -> "SimConfig":
        """The same simulator with some fields changed while it runs; where it listens cannot change."""
        for name in ("host", "port"):
            if name in changes:
                raise UsageError(f"simulator: {name} cannot change while it runs; start another one")
        return SimConfig.from_dict(self.to_dict() | dict(changes))


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Raises UsageError if the text is not one JSON object."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{where}: must be a JSON object, not {type(raw).__name__}")
    return raw


def null_config() -> SimConfig:
    """Answers at once, without limit: what an engine sees of it is the engine's own floor and ceiling."""
    return SimConfig(slots=0, service_ms=0.0)


def control_config(service_ms: float = 40.0) -> SimConfig:
    """Answers after a fixed time, without limit: the reference measured in the same blocks."""
    return SimConfig(slots=0, service_ms=service_ms)
