"""What a person fills in to start a run by hand: shallow, every field explained. `config.plan` has the rest."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.load import Arrivals, Load, make_load
from config.plan import Plan, PlanError, make_plan, override
from config.shapes import KEY_NAME, NAME, STEPS, STRESS, URL, WINDOW, Concurrency


def _position(n: int, **limits: Any) -> dict[str, Any]:
    """Where a field stands, and what its text must look like."""
    return {"position": n, **limits}


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)


F = TypeVar("F", bound=Form)


class TargetForm(Form):
    """Which endpoint to measure. Hosts other than this machine must be allowed where the worker runs."""

    model_config = ConfigDict(title="Target")

    name: str = Field(
        "target",
        title="Name",
        description="Short name for tables and charts",
        json_schema_extra=_position(1, pattern=NAME),
    )
    url: str = Field(
        "http://127.0.0.1:4000/v1",
        title="URL",
        description="OpenAI base URL, ending in /v1",
        json_schema_extra=_position(2, pattern=URL),
    )
    model: str = Field(
        "default", title="Model", description="Model to ask for", json_schema_extra=_position(3, minLength=1)
    )
    api_key_env: str = Field(
        "GATEBENCH_API_KEY",
        title="Key variable",
        description="Name of the worker's environment variable that holds the key; never the key itself",
        json_schema_extra=_position(4, pattern=KEY_NAME),
    )


class RivalForm(TargetForm):
    """One of the endpoints that are compared."""

    direct: bool = Field(
        False,
        title="Direct",
        description="The upstream itself: what the others add to it is told as gateway overhead, and not judged",
        json_schema_extra=_position(5),
    )


RIVALS = [
    RivalForm(name="baseline", url="http://127.0.0.1:4000/v1"),
    RivalForm(name="candidate", url="http://127.0.0.1:4001/v1"),
]


class SweepForm(Form):
    """Closed loop: how many at a time, how often."""

    model_config = ConfigDict(title="Sweep")

    levels: list[Concurrency] = Field(
        [1, 10, 50, 100],
        title="Levels",
        description="Concurrent requests, one entry a level",
        json_schema_extra=_position(1, minItems=1, uniqueItems=True),
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


def _in_flight(n: int) -> Any:
    return Field(
        1000,
        ge=1,
        title="Most in flight",
        description="Requests under way at once; beyond it the next field decides",
        json_schema_extra=_position(n),
    )


def _on_full(n: int) -> Any:
    return Field(
        "queue",
        title="When full",
        description="queue: sent late, and counted from when it was due; drop: counted; abort: stop",
        json_schema_extra=_position(n),
    )


def _spin(n: int) -> Any:
    return Field(
        False, title="Spin", description="Spend a core on starting within microseconds", json_schema_extra=_position(n)
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
        "",
        title="Window",
        description="Part to play, as in 0:10m; empty: all",
        json_schema_extra=_position(3, pattern=WINDOW),
    )
    max_idle_gap_s: float | None = Field(
        None,
        gt=0,
        title="Longest idle gap",
        description="Seconds of recorded time; longer gaps are cut to it",
        json_schema_extra=_position(4),
    )
    scale: float = Field(
        1.0,
        gt=0,
        title="Scale",
        description="2 sends twice as many in the same time, bursts and think times as they were",
        json_schema_extra=_position(5),
    )
    loop_s: float | None = Field(
        None,
        gt=0,
        title="Loop",
        description="Play it again and again for so many seconds; empty: once",
        json_schema_extra=_position(6),
    )
    sessions: bool = Field(
        False,
        title="Sessions",
        description="A turn waits for the end of the turn before it and its recorded think time",
        json_schema_extra=_position(7),
    )
    stress: str = Field(
        "",
        title="Stress",
        description="Load on top that is not judged, as in rate=50,from=1m,until=5m or concurrency=8; empty: none",
        json_schema_extra=_position(8, pattern=STRESS),
    )
    max_in_flight: int = _in_flight(9)
    on_full: Literal["queue", "drop", "abort"] = _on_full(10)
    spin: bool = _spin(11)


class LoadForm(Form):
    """Open loop at a rate: constant, drawn, rising or in steps."""

    model_config = ConfigDict(title="Load")

    rate_rps: float = Field(10.0, gt=0, title="Rate", description="Requests a second", json_schema_extra=_position(1))
    duration_s: float = Field(30.0, gt=0, title="Duration", description="Seconds", json_schema_extra=_position(2))
    arrivals: Arrivals = Field(
        "constant",
        title="Arrivals",
        description="How the starts are spaced: evenly, or drawn, or under a rate that changes",
        json_schema_extra=_position(3),
    )
    cv: float | None = Field(
        None,
        gt=0,
        title="CV",
        description="Spread of drawn gaps: needed by gamma, allowed with ramp and steps; 1 is Poisson",
        json_schema_extra=_position(4),
    )
    to_rps: float | None = Field(
        None, ge=0, title="To rate", description="Rate at the end of a ramp", json_schema_extra=_position(5)
    )
    steps: str = Field(
        "",
        title="Steps",
        description="Rate and time of each step, as in 10:30s, 50:1m; rate and duration are then not used",
        json_schema_extra=_position(6, pattern=STEPS),
    )
    sessions: bool = Field(
        False,
        title="Sessions",
        description="Turns of a recorded session in order; the rate is then that of new sessions",
        json_schema_extra=_position(7),
    )
    think_s: float | None = Field(
        None,
        gt=0,
        title="Think time",
        description="Mean seconds between turns, drawn; empty: as recorded",
        json_schema_extra=_position(8),
    )
    max_in_flight: int = _in_flight(9)
    on_full: Literal["queue", "drop", "abort"] = _on_full(10)
    spin: bool = _spin(11)
    stream: bool = Field(
        True, title="Streaming", description="Ask for streamed answers", json_schema_extra=_position(12)
    )

    @property
    def words(self) -> str:
        """For the name of a run."""
        if self.arrivals == "steps":
            return f"steps {self.steps}"
        end = f" to {self.to_rps:g}/s" if self.arrivals == "ramp" and self.to_rps is not None else ""
        return f"{self.rate_rps:g}/s{end}"


def load_from(form: LoadForm) -> Load:
    """Raises PlanError where the fields do not go together."""
    return make_load(form.model_dump(), "load")


def filled(form: type[F], **fields: Any) -> F:
    """A form of options given elsewhere. Raises PlanError that names the field."""
    try:
        return form(**fields)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise PlanError(f"{place}: {found['msg'].removeprefix('Value error, ')}") from None


def plan_from(
    target: TargetForm, overrides: Sequence[str] = (), models: dict[str, str] | None = None, **parts: Any
) -> Plan:
    """A plan with one target, which asks for other `models`, and the given parts, `a.b=c` laid over it."""
    raw = {"name": "adhoc", "targets": [{**target.model_dump(), "models": dict(models or {})}], **parts}
    for text in overrides:
        override(raw, text)
    return make_plan(raw, "parameters")


def plan_of(targets: Sequence[RivalForm], overrides: Sequence[str] = (), **parts: Any) -> Plan:
    """A plan of several targets, the first of which the others are compared with, `a.b=c` laid over it."""
    raw = {"name": "compare", "targets": [target.model_dump() for target in targets], **parts}
    for text in overrides:
        override(raw, text)
    return rivals_of(make_plan(raw, "parameters"))


def rivals_of(plan: Plan, names: Sequence[str] = ()) -> Plan:
    """The same plan for those of its targets, in that order, or for all of them. Raises PlanError below two."""
    chosen = tuple(plan.only(name).targets[0] for name in names) if names else plan.targets
    if len(chosen) < 2 or len({target.name for target in chosen}) < len(chosen):
        have = ", ".join(target.name for target in plan.targets)
        raise PlanError(f"a comparison needs two targets or more, each once; plan {plan.name!r} has {have}")
    return plan.model_copy(update={"targets": chosen})


def sweep_parts(form: SweepForm) -> dict[str, Any]:
    """The parts of a plan that a sweep form decides."""
    fields = form.model_dump(exclude={"control"})
    return {"sweep": fields, "control": {"enabled": form.control}, "replay": {"enabled": False}}
