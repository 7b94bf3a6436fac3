"""What a person fills in to look for the ceiling by hand."""

from typing import Any, Literal

from pydantic import Field

from config.forms import Form, SweepForm, sweep_parts


def _position(n: int) -> dict[str, Any]:
    return {"position": n}


class CeilingForm(Form):
    """Open loop: which rates are tried. Each is tried by itself, the next one where the answer lies."""

    model_config = SweepForm.model_config | {"title": "Rates"}

    duration_s: float = Field(
        10.0, gt=0, title="Duration", description="Seconds of each rate", json_schema_extra=_position(1)
    )
    max_rps: float | None = Field(
        None,
        gt=0,
        title="Highest rate",
        description="Never try more; empty: a tenth beyond what the sweep reached",
        json_schema_extra=_position(2),
    )
    start_rps: float | None = Field(
        None,
        gt=0,
        title="First rate",
        description="Begin here and do not sweep; empty: sweep first, and begin at what it reached",
        json_schema_extra=_position(3),
    )
    tolerance: float = Field(
        0.02,
        ge=0.005,
        le=0.5,
        title="Tolerance",
        description="Share by which the lowest rate that was too much may lie above the answer",
        json_schema_extra=_position(4),
    )
    arrivals: Literal["constant", "poisson"] = Field(
        "constant",
        title="Arrivals",
        description="How the starts are spaced: evenly, or drawn",
        json_schema_extra=_position(5),
    )
    most: int = Field(
        16, ge=2, le=100, title="Most rates", description="Rates tried at most", json_schema_extra=_position(6)
    )
    extend_to: int = Field(
        0,
        ge=0,
        title="Extend to",
        description="Double the sweep's top level up to this while throughput still rises; 0: never",
        json_schema_extra=_position(7),
    )


def ceiling_parts(sweep: SweepForm, rates: CeilingForm) -> dict[str, Any]:
    """The parts of a plan that a search for the ceiling decides."""
    parts = sweep_parts(sweep)
    parts["sweep"] = {**parts["sweep"], "extend_to": rates.extend_to}
    return {**parts, "ceiling": {"enabled": True, **rates.model_dump(exclude={"extend_to"})}}
