"""What a person fills in to look for the ceiling by hand."""

from typing import Any, Literal

from pydantic import ConfigDict

from config.forms import Form, SweepForm, field, sweep_parts


class CeilingForm(Form):
    """Open loop: which rates are tried. Each is tried by itself, the next one where the answer lies."""

    model_config = ConfigDict(title="Rates")

    duration_s: float = field(1, "Duration", "Seconds of each rate", 10.0, gt=0)
    max_rps: float | None = field(
        2, "Highest rate", "Never try more; empty: a tenth beyond what the sweep reached", None, gt=0
    )
    start_rps: float | None = field(
        3, "First rate", "Begin here and do not sweep; empty: sweep first, and begin at what it reached", None, gt=0
    )
    tolerance: float = field(
        4,
        "Tolerance",
        "Share by which the lowest rate that was too much may lie above the answer",
        0.02,
        ge=0.005,
        le=0.5,
    )
    arrivals: Literal["constant", "poisson"] = field(
        5, "Arrivals", "How the starts are spaced: evenly, or drawn", "constant"
    )
    most: int = field(6, "Most rates", "Rates tried at most", 16, ge=2, le=100)
    extend_to: int = field(
        7, "Extend to", "Double the sweep's top level up to this while throughput still rises; 0: never", 0, ge=0
    )


def ceiling_parts(sweep: SweepForm, rates: CeilingForm) -> dict[str, Any]:
    """The parts of a plan that a search for the ceiling decides."""
    parts = sweep_parts(sweep)
    parts["sweep"] = {**parts["sweep"], "extend_to": rates.extend_to}
    return {**parts, "ceiling": {"enabled": True, **rates.model_dump(exclude={"extend_to"})}}
