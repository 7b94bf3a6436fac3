"""What to send: real traffic and where it is read from, levels of concurrency, rates."""

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from config.part import Part

SPAN_TEXT = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h)?\s*$")
SPAN_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
STRESS_NAMES = {
    "rate": "rate_rps",
    "rate_rps": "rate_rps",
    "concurrency": "concurrency",
    "from": "from",
    "until": "until",
}


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
