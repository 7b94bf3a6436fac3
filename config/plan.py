"""What to measure: targets, traffic, limits, objectives. Frozen; read from TOML; an unknown key is refused by name."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from config.limits import Breaker, Budget, HealthLimits, Price, Workers
from config.part import Part
from config.settings import Timeouts
from config.target import Target
from config.traffic import Capture, Ceiling, Replay, Sweep

SHIPPED = Path(__file__).parent / "plans"
SLO_TEXT = re.compile(
    r"^\s*(?P<stat>p50|p90|p95|p99|mean|rate)\s*\(\s*(?P<quantity>latency|ttft|tpot|itl|errors)\s*\)"
    r"\s*(?:\{\s*level\s*=\s*(?P<level>\d+)\s*\})?\s*<=?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%)\s*$"
)
UNITS = {"ms": 1e-3, "s": 1.0, "%": 1e-2}
# Options of a replay that came later count only where they are set, so that older nights stay comparable.
_LATER = ("max_idle_gap_s", "scale", "loop_s", "sessions", "spin", "stress")


class PlanError(ValueError):
    """A plan that cannot be used: what, where and how to mend it."""


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
