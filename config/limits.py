"""What ends a run, what it may cost, and what makes a leg of it suspect."""

from typing import Literal

from pydantic import Field, field_validator

from config.part import Part


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
