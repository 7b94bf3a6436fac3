"""What a run depends on, and the commands that show it and measure it again."""

import shlex
from typing import Any

from storage.records import Run, Series
from tasks.charts.words import count, share
from tasks.report.view import RunView, targets


def show_command(run: Run) -> str:
    return f"gatebench show {run.run_id}"


def repeat_command(run: Run) -> str:
    """The command as it was typed where the record has it, else one that measures the same."""
    typed = run.environment.get("command")
    if typed:
        return shlex.join(typed) if isinstance(typed, list) else str(typed)
    first = (run.plan.get("targets") or [{}])[0]
    if run.flow in ("sweep", "ceiling", "aa") and run.plan_name == "adhoc" and first.get("url"):
        sweep = run.plan.get("sweep") or {}
        parts = ["gatebench", run.flow, "--url", str(first["url"]), "--model", str(first.get("model", ""))]
        if sweep.get("requests"):
            parts += ["--requests", str(sweep["requests"])]
        if sweep.get("levels"):
            parts += ["--concurrency", ",".join(str(level) for level in sweep["levels"])]
        if sweep.get("blocks"):
            parts += ["--blocks", str(sweep["blocks"])]
        return shlex.join([*parts, *_rate_words(run.plan)] if run.flow == "ceiling" else parts)
    if run.flow == "compare" and run.plan_name == "compare":
        return shlex.join(_compare_words(run.plan))
    return shlex.join(["gatebench", run.flow, "--plan", run.plan_name])


def _rate_words(plan: dict[str, Any]) -> list[str]:
    """Of a search for the ceiling: what its rates were held to, and where they began and ended."""
    parts = [word for text in plan.get("slos") or [] for word in ("--slo", str(text))]
    asked = plan.get("ceiling") or {}
    for option, name in (("--start", "start_rps"), ("--max-rate", "max_rps")):
        parts += [] if asked.get(name) is None else [option, f"{asked[name]:g}"]
    return parts


def _compare_words(plan: dict[str, Any]) -> list[str]:
    """Of targets that were given by their URLs alone."""
    parts = ["gatebench", "compare"]
    for place, target in enumerate(plan["targets"]):
        role = (
            "--direct" if target["direct"] else "--candidate" if place or target["name"] != "baseline" else "--baseline"
        )
        parts += [role, target["url"]]
    first, sweep = plan["targets"][0], plan["sweep"]
    parts += ["--model", first["model"], "--requests", str(sweep["requests"]), "--blocks", str(sweep["blocks"])]
    return [*parts, "--concurrency", ",".join(str(level) for level in sweep["levels"])]


def record_rows(view: RunView) -> list[tuple[str, str]]:
    """(name, value) of everything the result depends on: nested facts are joined by dots."""
    run = view.run
    rows = [("run", run.run_id), ("flow", run.flow), ("plan", run.plan_name), ("status", run.status)]
    rows += [("started", run.started_at), ("ended", run.ended_at or "–"), ("seed", str(run.seed))]
    rows += [("workload", run.workload_id or "built in"), ("fingerprint", run.fingerprint or "–")]
    rows += [("samples (absolute path)", run.path)]
    rows += [row for row in flat(run.environment) if row[0] != "command"]
    for target in targets(view):
        headers: dict[str, str] = {}
        for leg in view.legs:
            if leg.target == target:
                headers.update(leg.target_headers)
        rows += [(f"{target} header {name}", value) for name, value in sorted(headers.items())]
    return rows


def plan_rows(run: Run) -> list[tuple[str, str]]:
    """The plan as it was asked, flat."""
    return flat(run.plan)


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested mappings and lists as (dotted name, text); absent facts are left out."""
    if isinstance(value, dict):
        return [row for key, part in value.items() for row in flat(part, f"{name}.{key}".lstrip("."))]
    if isinstance(value, list | tuple):
        if all(not isinstance(part, dict | list | tuple) for part in value):
            return [(name, ", ".join(str(part) for part in value))] if value else []
        return [row for k, part in enumerate(value) for row in flat(part, f"{name}.{k}")]
    return [] if value is None else [(name, str(value))]


def request_words(view: RunView) -> str | None:
    """How many requests were measured against the targets, both attempts, calibration and control left out; of those
    that are missing, whether they were never sent, for the leg was stopped, or were lost. None: none was measured."""
    wanted = set(targets(view))
    legs = [leg for leg in view.legs if leg.target in wanted and leg.series != Series.CALIBRATION]
    measured = sum(leg.measured for leg in legs)
    if not measured:
        return None
    failed = measured - sum(leg.ok for leg in legs)
    text = f"{count(measured, 'request')} measured, {share(failed / measured)} failed"
    for word, missing in (
        ("not sent", sum(leg.lost for leg in legs if leg.stopped is not None)),
        ("lost", sum(leg.lost for leg in legs if leg.stopped is None)),
    ):
        text += f", {missing:,} {word}" if missing else ""
    return text
