"""One open-loop load at a rate: constant, drawn, rising, falling or in steps."""

import math
import re
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from config.part import Part
from config.plan import PlanError

Arrivals = Literal["constant", "poisson", "gamma", "ramp", "steps"]
STEP_TEXT = re.compile(r"^\s*(?P<rate>\d+(?:\.\d+)?)\s*:\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h)?\s*$")
UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Step(Part):
    """A rate, for so long."""

    rate_rps: float = Field(ge=0, allow_inf_nan=False, description="0 is a pause")
    duration_s: float = Field(gt=0, allow_inf_nan=False)


class Load(Part):
    """Open loop: requests are sent at a rate, whatever the target does."""

    rate_rps: float = Field(10.0, gt=0, allow_inf_nan=False, description="With steps: not used")
    duration_s: float = Field(30.0, gt=0, allow_inf_nan=False, description="With steps: not used")
    arrivals: Arrivals = "constant"
    cv: float | None = Field(
        None, gt=0, le=20, description="Spread of drawn gaps, standard deviation / mean; 1 is Poisson"
    )
    to_rps: float | None = Field(None, ge=0, allow_inf_nan=False, description="Rate at the end of a ramp")
    steps: tuple[Step, ...] = ()
    sessions: bool = Field(False, description="Turns of a session in order; the rate is then that of new sessions")
    think_s: float | None = Field(None, gt=0, description="Mean of drawn think times; None: as recorded")
    spin: bool = Field(False, description="Spend a core on starting within microseconds")
    stream: bool = True
    max_in_flight: int = Field(1000, ge=1)
    on_full: Literal["queue", "drop", "abort"] = "queue"

    @model_validator(mode="after")
    def _fits(self) -> "Load":
        drawn = self.arrivals in ("gamma", "ramp", "steps")
        if self.arrivals == "gamma" and self.cv is None:
            raise ValueError("arrivals = gamma needs cv, the spread of its gaps, as in cv = 2 (1 is Poisson)")
        if self.cv is not None and not drawn:
            raise ValueError(f"cv says how gaps are drawn; with arrivals = {self.arrivals} it means nothing, use gamma")
        if (self.arrivals == "ramp") != (self.to_rps is not None):
            raise ValueError("a ramp goes from rate_rps to to_rps: arrivals = ramp and to_rps belong together")
        if (self.arrivals == "steps") != bool(self.steps):
            raise ValueError("arrivals = steps and a list of steps belong together, as in 10:30s, 50:1m")
        if self.steps and not any(step.rate_rps for step in self.steps):
            raise ValueError("every step has a rate of 0: nothing would be sent")
        if self.think_s is not None and not self.sessions:
            raise ValueError("think_s is the time between turns of a session; it needs sessions = true")
        return self

    @property
    def seconds(self) -> float:
        return sum(step.duration_s for step in self.steps) if self.steps else self.duration_s

    @property
    def warmup_s(self) -> float:
        """Before the measured part, at the first rate; a load that begins with a pause has none."""
        return min(2.0, self.seconds / 10) if self._first_rps else 0.0

    @property
    def warmup_requests(self) -> int:
        """How many are sent then, or how many sessions begin."""
        return math.ceil(self._first_rps * self.warmup_s - 1e-9)

    @property
    def _first_rps(self) -> float:
        return self.steps[0].rate_rps if self.steps else self.rate_rps

    @property
    def requests(self) -> int:
        """How many are sent (where they are drawn: on average); with sessions, how many sessions begin."""
        if self.steps:
            return math.ceil(sum(step.rate_rps * step.duration_s for step in self.steps) - 1e-9)
        last = self.rate_rps if self.to_rps is None else self.to_rps
        return math.ceil((self.rate_rps + last) / 2 * self.duration_s - 1e-9)

    @property
    def spread(self) -> float | None:
        """Coefficient of variation of the gaps; None: evenly spaced."""
        return 1.0 if self.arrivals == "poisson" else self.cv


def make_load(raw: dict[str, Any], where: str) -> Load:
    """A validated load; `steps` may also be a text like `10:30s, 50:1m`. Raises PlanError."""
    if isinstance(raw.get("steps"), str):
        raw = {**raw, "steps": parse_steps(raw["steps"])}
    try:
        return Load.model_validate(raw)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        message = found["msg"].removeprefix("Value error, ")
        raise PlanError(f"{where}: {place}: {message}" if place else f"{where}: {message}") from None


def parse_steps(text: str) -> list[dict[str, float]]:
    """`10:30s, 50:1m` -> rate and seconds of each step. Raises PlanError."""
    steps = []
    for part in text.split(",") if text.strip() else ():
        match = STEP_TEXT.match(part)
        if match is None:
            raise PlanError(f"cannot read the step {part.strip()!r}; write RATE:TIME for each, as in 10:30s,50:1m")
        steps.append(
            {"rate_rps": float(match["rate"]), "duration_s": float(match["number"]) * UNITS_S[match["unit"] or "s"]}
        )
    return steps
