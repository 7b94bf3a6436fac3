"""What a person fills in to start a run by hand: shallow, every field explained. `config.plan` has the rest."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.load import Arrivals, Load, make_load
from config.plan import Plan, PlanError, load_plan, make_plan, override
from config.shapes import KEY_NAME, NAME, STEPS, STRESS, URL, WINDOW, Concurrency

T = TypeVar("T")


def field(position: int, title: str, description: str, default: T, schema: Mapping[str, Any] = {}, **limits: Any) -> T:
    """A field of a form: where it stands, its words, and what it is where nobody fills it in. `schema`: what the page
    checks of it, `limits`: what we check too."""
    extra = {"position": position, **schema}
    return cast("T", Field(default, title=title, description=description, json_schema_extra=extra, **limits))


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)


F = TypeVar("F", bound=Form)


class TargetForm(Form):
    """Which endpoint to measure. Hosts other than this machine must be allowed where the worker runs."""

    model_config = ConfigDict(title="Target")

    name: str = field(1, "Name", "Short name for tables and charts", "target", {"pattern": NAME})
    url: str = field(2, "URL", "OpenAI base URL, ending in /v1", "http://127.0.0.1:4000/v1", {"pattern": URL})
    model: str = field(3, "Model", "Model to ask for", "default", {"minLength": 1})
    api_key_env: str = field(
        4,
        "Key variable",
        "Name of the worker's environment variable that holds the key; never the key itself",
        "GATEBENCH_API_KEY",
        {"pattern": KEY_NAME},
    )


class RivalForm(TargetForm):
    """One of the endpoints that are compared."""

    direct: bool = field(
        5, "Direct", "The upstream itself: what the others add to it is told as gateway overhead, and not judged", False
    )


RIVALS = [
    RivalForm(name="baseline", url="http://127.0.0.1:4000/v1"),
    RivalForm(name="candidate", url="http://127.0.0.1:4001/v1"),
]


class SweepForm(Form):
    """Closed loop: how many at a time, how often."""

    model_config = ConfigDict(title="Sweep")

    levels: list[Concurrency] = field(
        1, "Levels", "Concurrent requests, one entry a level", [1, 10, 50, 100], {"minItems": 1, "uniqueItems": True}
    )
    requests: int = field(2, "Requests a level", "Measured requests, over all blocks", 1000, ge=1)
    blocks: int = field(3, "Blocks", "Passes over all levels, in random order", 5, ge=1, le=50)
    stream: bool = field(4, "Streaming", "Ask for streamed answers", True)
    control: bool = field(5, "Control", "Measure gatebench's own responder beside it", True)


OnFull = Literal["queue", "drop", "abort"]


def _in_flight(n: int) -> int:
    words = "Requests under way at once; beyond it the next field decides"
    return field(n, "Most in flight", words, 1000, ge=1)


def _on_full(n: int) -> OnFull:
    words = "queue: sent late, and counted from when it was due; drop: counted; abort: stop"
    return field(n, "When full", words, "queue")


def _spin(n: int) -> bool:
    return field(n, "Spin", "Spend a core on starting within microseconds", False)


class ReplayForm(Form):
    """Open loop: recorded traffic with its recorded timing."""

    model_config = ConfigDict(title="Replay")

    workload: str = field(1, "Workload", "Parquet file or pinned name; empty: the built-in one", "")
    speed: float = field(2, "Speed", "2 plays twice as fast", 1.0, gt=0)
    window: str = field(3, "Window", "Part to play, as in 0:10m; empty: all", "", {"pattern": WINDOW})
    max_idle_gap_s: float | None = field(
        4, "Longest idle gap", "Seconds of recorded time; longer gaps are cut to it; empty: none are", None, gt=0
    )
    scale: float = field(
        5, "Scale", "2 sends twice as many in the same time, bursts and think times as they were", 1.0, gt=0
    )
    loop_s: float | None = field(6, "Loop", "Play it again and again for so many seconds; empty: once", None, gt=0)
    sessions: bool = field(
        7, "Sessions", "A turn waits for the end of the turn before it and its recorded think time", False
    )
    stress: str = field(
        8,
        "Stress",
        "Load on top that is not judged, as in rate=50,from=1m,until=5m or concurrency=8; empty: none",
        "",
        {"pattern": STRESS},
    )
    max_in_flight: int = _in_flight(9)
    on_full: OnFull = _on_full(10)
    spin: bool = _spin(11)


class LoadForm(Form):
    """Open loop at a rate: constant, drawn, rising or in steps."""

    model_config = ConfigDict(title="Load")

    rate_rps: float = field(1, "Rate", "Requests a second", 10.0, gt=0)
    duration_s: float = field(2, "Duration", "Seconds", 30.0, gt=0)
    arrivals: Arrivals = field(
        3, "Arrivals", "How the starts are spaced: evenly, or drawn, or under a rate that changes", "constant"
    )
    cv: float | None = field(
        4, "CV", "Spread of drawn gaps: needed by gamma, allowed with ramp and steps; 1 is Poisson", None, gt=0
    )
    to_rps: float | None = field(5, "To rate", "Rate at the end of a ramp", None, ge=0)
    steps: str = field(
        6,
        "Steps",
        "Rate and time of each step, as in 10:30s, 50:1m; rate and duration are then not used",
        "",
        {"pattern": STEPS},
    )
    sessions: bool = field(
        7, "Sessions", "Turns of a recorded session in order; the rate is then that of new sessions", False
    )
    think_s: float | None = field(8, "Think time", "Mean seconds between turns, drawn; empty: as recorded", None, gt=0)
    max_in_flight: int = _in_flight(9)
    on_full: OnFull = _on_full(10)
    spin: bool = _spin(11)
    stream: bool = field(12, "Streaming", "Ask for streamed answers", True)

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


def plan_at(path: str, target: TargetForm, overrides: Sequence[str] = ()) -> Plan:
    """A plan that is written down, of its targets the one of that name, or all where the form names none."""
    plan = load_plan(path, overrides)
    return plan if target.name == "target" else plan.only(target.name)


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
