"""The parameters of a flow -> the form that Prefect's pages draw of them. Prefect labels a flow's own parameters with
their names in code, and draws a switch between "float" and "None" for a value that may be left out. Pure."""

from collections.abc import Mapping
from typing import Any

NULL = {"type": "null"}
LABELS = {
    "slos": "Objectives",
    "out": "Workload to write",
    "mapping": "Columns",
    "spread_seed": "Spread",
    "names": "Targets of the plan",
    "min_effect": "Least effect",
    "pause_s": "Pause",
    "simulated": "Simulated nights",
    "overrides": "Changes",
    "scheduled": "Counts as a night",
}


def labelled(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, each parameter with a label, and what may be left out as a plain field that is empty."""
    parameters = {name: {**shape, "title": label(name)} for name, shape in schema["properties"].items()}
    models = {name: _plain(model) for name, model in schema.get("definitions", {}).items()}
    found = {**schema, **_plain({"properties": parameters})}
    return {**found, "definitions": models} if "definitions" in schema else found


def label(name: str) -> str:
    """Of a parameter."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _plain(model: Mapping[str, Any]) -> dict[str, Any]:
    """Without a switch. Prefect takes null for a field that has no default."""
    if "properties" not in model:
        return dict(model)
    return {**model, "properties": {name: _one_kind(shape) for name, shape in model["properties"].items()}}


def _one_kind(shape: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in shape.get("anyOf", ()) if kind != NULL]
    if len(kinds) != 1 or shape.get("default") is not None:
        return dict(shape)
    return {**{key: value for key, value in shape.items() if key not in ("anyOf", "default")}, **kinds[0]}
