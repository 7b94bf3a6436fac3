"""What a person fills in to start a run by hand: shallow, every field explained. `config.plan` has the rest."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.plan import Plan, make_plan


def _position(n: int) -> dict[str, Any]:
    return {"position": n}


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)


class TargetForm(Form):
    """Which endpoint to measure. Hosts other than this machine must be allowed where the worker runs."""

    model_config = ConfigDict(title="Target")

    name: str = Field(
        "target", title="Name", description="Short name for tables and charts", json_schema_extra=_position(1)
    )
    url: str = Field(
        "http://127.0.0.1:4000/v1",
        title="URL",
        description="OpenAI base URL, ending in /v1",
        json_schema_extra=_position(2),
    )
    model: str = Field("default", title="Model", description="Model to ask for", json_schema_extra=_position(3))
    api_key_env: str = Field(
        "GATEBENCH_API_KEY",
        title="Key variable",
        description="Name of the worker's environment variable that holds the key; never the key itself",
        json_schema_extra=_position(4),
    )


class SweepForm(Form):
    """Closed loop: how many at a time, how often."""

    model_config = ConfigDict(title="Sweep")

    levels: list[int] = Field(
        [1, 10, 50, 100],
        title="Levels",
        description="Concurrent requests, one entry a level",
        json_schema_extra=_position(1),
    )
    requests: int = Field(
        1000,
        ge=1,
        title="Requests a level",
        description="Measured requests, over all blocks",
        json_schema_extra=_position(2),
    )
    blocks: int = Field(
        5,
        ge=1,
        le=50,
        title="Blocks",
        description="Passes over all levels, in random order",
        json_schema_extra=_position(3),
    )
    stream: bool = Field(
        True, title="Streaming", description="Ask for streamed answers", json_schema_extra=_position(4)
    )
    control: bool = Field(
        True, title="Control", description="Measure gatebench's own responder beside it", json_schema_extra=_position(5)
    )


class ReplayForm(Form):
    """Open loop: recorded traffic with its recorded timing."""

    model_config = ConfigDict(title="Replay")

    workload: str = Field(
        "",
        title="Workload",
        description="Parquet file or pinned name; empty: the built-in one",
        json_schema_extra=_position(1),
    )
    speed: float = Field(1.0, gt=0, title="Speed", description="2 plays twice as fast", json_schema_extra=_position(2))
    window: str = Field(
        "", title="Window", description="Part to play, as in 0:10m; empty: all", json_schema_extra=_position(3)
    )


class LoadForm(Form):
    """Open loop at a constant rate."""

    model_config = ConfigDict(title="Load")

    rate_rps: float = Field(10.0, gt=0, title="Rate", description="Requests a second", json_schema_extra=_position(1))
    duration_s: float = Field(30.0, gt=0, title="Duration", description="Seconds", json_schema_extra=_position(2))
    arrivals: Literal["constant"] = Field(
        "constant", title="Arrivals", description="How the starts are spaced", json_schema_extra=_position(3)
    )
    stream: bool = Field(
        True, title="Streaming", description="Ask for streamed answers", json_schema_extra=_position(4)
    )


def plan_from(target: TargetForm, **parts: Any) -> Plan:
    """A plan with one target and the given parts."""
    return make_plan({"name": "adhoc", "targets": [target.model_dump()], **parts}, "parameters")


def sweep_parts(form: SweepForm) -> dict[str, Any]:
    """The parts of a plan that a sweep form decides."""
    fields = form.model_dump(exclude={"control"})
    return {"sweep": fields, "control": {"enabled": form.control}, "replay": {"enabled": False}}
