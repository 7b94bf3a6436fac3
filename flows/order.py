"""What a flow wants of the line."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from config.load import Load
from config.plan import Plan


@dataclass(frozen=True, slots=True)
class Order:
    """Parts of the line, in the order in which they are done."""

    flow: str
    plan: Plan
    scheduled: bool = False  # may enter the baseline by itself
    capture: bool = False
    replay: bool = False
    sweep: bool = False
    load: Load | None = None
    judge: bool = False
    ceiling: bool = False  # the highest rate that a target keeps up with, in an open loop, after all else
    compare: bool = False  # the sweep's targets against each other, side by side; the first is the baseline


def order_json(order: Order) -> dict[str, Any]:
    """All of it but the plan, which a run keeps by itself, as plain values."""
    found: dict[str, Any] = TypeAdapter(Order).dump_python(order, mode="json", exclude={"plan"})
    return found


def order_from(raw: dict[str, Any], plan: dict[str, Any]) -> Order:
    return TypeAdapter(Order).validate_python({**raw, "plan": plan})
