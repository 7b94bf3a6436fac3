"""What `--json` writes: the contract's objects, from a stored run. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.outputs_ceiling import sustained_json
from storage.records import CONTROL, Attempt, Cell, Comparison, Cost, Estimate, Leg, Series, Validity
from tasks.report.gateway import unfair_lines
from tasks.report.headline import headline
from tasks.report.instrument import beside, blind_lines
from tasks.report.money import spent
from tasks.report.resumed import resumed_lines
from tasks.report.view import RunView

STATS = ("p50", "p90", "p95", "p99", "mean")
FACTS = ("cpu_model", "cores", "kernel", "container_image", "engine_version")


def sweep_json(view: RunView) -> dict[str, Any]:
    """`gatebench.sweep/1`."""
    target = view.run.plan["targets"][0]
    return _head(view, "gatebench.sweep/1") | {
        "requests_per_level": view.run.plan["sweep"]["requests"],
        "levels": _levels(view, target["name"]),
        "ceiling": ceiling_json(view, target["name"]),
        **sustained_json(view, target["name"]),
    }


def open_json(view: RunView, series: Series) -> dict[str, Any]:
    """`gatebench.replay/1` or `gatebench.load/1`: one open-loop trial a target."""
    targets = [t for t in view.run.plan["targets"] if _legs(view, t["name"], series, 0)]
    trials = [
        {
            "target": t["name"],
            **_trial(view, t["name"], series, 0),
            "response_ms": _family(view, t["name"], series, 0, "response"),
        }
        for t in targets
    ]
    return _head(view, f"gatebench.{series}/1") | {"trials": trials}


def night_json(view: RunView) -> dict[str, Any]:
    """`gatebench.nightly/1`: the verdicts, with every level and the replay of each target."""
    return _head(view, "gatebench.nightly/1") | {
        "verdicts": [asdict(verdict) for verdict in view.verdicts],
        "slos": [asdict(result) for result in view.slo_results],
        "targets": [
            {
                "name": t["name"],
                "levels": _levels(view, t["name"]),
                "replay": _trial(view, t["name"], Series.REPLAY, 0)
                if _legs(view, t["name"], Series.REPLAY, 0)
                else None,
                "load": _trial(view, t["name"], Series.LOAD, 0) if _legs(view, t["name"], Series.LOAD, 0) else None,
                "ceiling": ceiling_json(view, t["name"]),
                **sustained_json(view, t["name"]),
            }
            for t in view.run.plan["targets"]
        ],
        "history_n": _history_n(view),
    }


def compare_json(view: RunView) -> dict[str, Any]:
    """`gatebench.compare/1`: every pair and metric, with the levels of each target beside it. Seconds become ms."""
    head = _head(view, "gatebench.compare/1")
    targets = view.run.plan["targets"]
    return head | {
        "baseline": next((c.baseline for c in view.comparisons if c.kind == "candidate"), None),
        "min_effect": view.run.plan["judge"]["min_effect"],
        "comparisons": [_comparison(one) for one in view.comparisons],
        "targets": [
            {
                **{name: t[name] for name in ("name", "url", "model", "direct")},
                "cost": _spent([c for c in view.costs if c.target == t["name"]]),
                "levels": _levels(view, t["name"]),
            }
            for t in targets
        ],
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    """Times in ms, as everywhere in a JSON; rates, shares and tokens as they are."""
    scale = 1e3 if one.metric.startswith(("latency_", "ttft_", "tpot_")) else 1.0
    times = ("baseline_value", "candidate_value", "by", "by_lower", "by_upper")
    raw = asdict(one)
    return raw | {name: None if raw[name] is None else raw[name] * scale for name in times}


def judge_json(view: RunView) -> dict[str, Any]:
    """`gatebench.judge/1`."""
    return {
        "schema": "gatebench.judge/1",
        "run_id": view.run.run_id,
        "verdict": view.run.verdict,
        "headline": headline(view),
        "history_n": _history_n(view),
        "verdicts": [asdict(verdict) for verdict in view.verdicts],
    }


def ceiling_json(view: RunView, target: str) -> dict[str, Any] | None:
    found = next((c for c in view.ceilings if c.target == target), None)
    if found is None:
        return None
    return {
        "throughput_rps": _estimate(found.throughput_rps),
        "concurrency": found.concurrency,
        "reached": found.reached,
        "limited_by": found.limited_by,
        "knee": found.knee,
    }


def run_json(view: RunView) -> dict[str, Any]:
    """What the command that made a run writes of it."""
    flow = view.run.flow
    if flow in (Series.REPLAY, Series.LOAD):
        return open_json(view, Series(flow))
    if flow == "ceiling":
        return sweep_json(view) | {"schema": "gatebench.ceiling/1"}
    return {"sweep": sweep_json, "aa": sweep_json, "compare": compare_json}.get(flow, night_json)(view)


def _head(view: RunView, schema: str) -> dict[str, Any]:
    run = view.run
    target = run.plan["targets"][0]
    return {
        "schema": schema,
        "run_id": run.run_id,
        "target": {name: target[name] for name in ("name", "url", "model")},
        "status": run.status,
        "verdict": run.verdict,
        "exit_code": run.exit_code,
        "headline": headline(view),
        "instrument": _instrument(view),
        "cost": cost_json(view),
        "warnings": [
            *resumed_lines(view.run),
            *unfair_lines(view),
            *blind_lines(view),
            *(f"alert: {line}" for line in view.undelivered),
        ],
        "fingerprint": {"digest": run.fingerprint} | {name: run.environment.get(name) for name in FACTS},
        "workload_id": run.workload_id,
        "fidelity": view.fidelity,
        "samples": run.path,
        "report": run.report,
    }


def _history_n(view: RunView) -> int:
    return 0 if view.history is None else view.history["night"].n_unique()


def _legs(view: RunView, target: str, series: str, level: int) -> list[Leg]:
    return [
        leg
        for leg in view.legs
        if (leg.attempt, leg.target, leg.series, leg.level) == (Attempt.FIRST, target, series, level)
    ]


def _levels(view: RunView, target: str) -> list[dict[str, Any]]:
    """Every level that was measured, those beyond the plan's too."""
    mine = {leg.level for leg in view.legs if (leg.target, leg.series) == (target, Series.SWEEP)}
    swept = [level for level in sorted(mine) if _legs(view, target, Series.SWEEP, level)]
    return [{"concurrency": level, **_trial(view, target, Series.SWEEP, level)} for level in swept]


def _trial(view: RunView, target: str, series: str, level: int) -> dict[str, Any]:
    legs = _legs(view, target, series, level)
    failed: dict[str, int] = {}
    for leg in legs:
        for kind, n in leg.failed.items():
            failed[kind] = failed.get(kind, 0) + n
    order = list(Validity)
    return {
        "requests": sum(leg.measured for leg in legs),
        "ok": sum(leg.ok for leg in legs),
        "failed": failed,
        "dropped": sum(leg.dropped for leg in legs),
        "lost": sum(leg.lost for leg in legs),
        "validity": max((Validity(leg.validity) for leg in legs), key=order.index, default=Validity.INVALID).value,
        "reasons": list(dict.fromkeys(reason for leg in legs for reason in leg.reasons)),
        "latency_ms": _family(view, target, series, level, "latency"),
        "ttft_ms": _family(view, target, series, level, "ttft"),
        "tpot_ms": _family(view, target, series, level, "tpot"),
        "itl_ms": _family(view, target, series, level, "itl"),
        "throughput_rps": _one(view, target, series, level, "throughput"),
        "output_tokens_per_s": _one(view, target, series, level, "output_tokens_per_s"),
        "goodput_rps": _one(view, target, series, level, "goodput"),
        "gateway": _gateway(view, target, series, level),
        "cost": _spent([c for c in _first(view) if (c.target, c.series, c.level) == (target, series, level)]),
        "instrument": _beside(view, target, series, level),
    }


def cost_json(view: RunView) -> dict[str, Any]:
    """The whole run, then each target and model of it; confirms count too, the control does not."""
    parts = dict.fromkeys((cost.target, cost.model) for cost in view.costs)
    models = [
        {"target": target, "model": model, **_spent([c for c in view.costs if (c.target, c.model) == (target, model)])}
        for target, model in parts
    ]
    return {**_spent(view.costs), "models": models}


def _first(view: RunView) -> list[Cost]:
    return [cost for cost in view.costs if cost.attempt == Attempt.FIRST]


def _spent(costs: Sequence[Cost]) -> dict[str, Any]:
    found = spent(costs)
    return {**asdict(found), "usd_per_1000_requests": found.per_thousand}


def _gateway(view: RunView, target: str, series: str, level: int) -> dict[str, Any] | None:
    place = (Attempt.FIRST, target, series, level)
    found = next((f for f in view.gateway if (f.attempt, f.target, f.series, f.level) == place), None)
    if found is None:
        return None
    raw = {
        k: v for k, v in asdict(found).items() if k not in ("attempt", "target", "series", "level", "requests", "ok")
    }
    pairs = [{"asked": asked, "served": served, "answers": n} for asked, served, n in found.models]
    return {**raw, "models": pairs}


def _beside(view: RunView, target: str, series: str, level: int) -> dict[str, Any] | None:
    found = beside(view, target, series, level)
    if found is None:
        return None
    return {
        "floor_ms": {"p50": found.floor_p50_ms, "p99": found.floor_p99_ms},
        "ceiling_rps": found.ceiling_rps,
        "used": found.used,
        "transport": found.transport,
    }


def _find(cells: Sequence[Cell], target: str, series: str, level: int, metric: str) -> Estimate | None:
    address = (Attempt.FIRST, target, series, level, metric)
    return next((c.estimate for c in cells if (c.attempt, c.target, c.series, c.level, c.metric) == address), None)


def _family(view: RunView, target: str, series: str, level: int, name: str) -> dict[str, Any] | None:
    """The quantiles of a metric in ms; None if none of them could be estimated."""
    found = {stat: _find(view.cells, target, series, level, f"{name}_{stat}") for stat in STATS}
    return {s: _estimate(e, 1e3) for s, e in found.items()} if any(found.values()) else None


def _one(view: RunView, target: str, series: str, level: int, metric: str) -> dict[str, Any] | None:
    return _estimate(_find(view.cells, target, series, level, metric))


def _estimate(estimate: Estimate | None, scale: float = 1.0) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "point": estimate.point * scale,
        "lower": None if estimate.lower is None else estimate.lower * scale,
        "upper": None if estimate.upper is None else estimate.upper * scale,
        "n": estimate.n,
        "blocks": estimate.blocks,
        "at_least": estimate.at_least,
    }


def _instrument(view: RunView) -> dict[str, Any] | None:
    """Floor and ceiling of the worst shape, and every shape; the schedule lag is that of the run's worst leg."""
    if not view.calibrations:
        return None
    worst = max(view.calibrations, key=lambda c: c.floor_p50_ms)
    mine = [leg.health for leg in view.legs if leg.target != CONTROL and leg.series != Series.CALIBRATION]
    lags = {
        "p50": [h.schedule_lag_p50_ms for h in mine],
        "p99": [h.schedule_lag_p99_ms for h in mine],
        "max": [h.schedule_lag_max_ms for h in mine],
    }
    return {
        "floor_ms": {"p50": worst.floor_p50_ms, "p99": worst.floor_p99_ms},
        "ceiling_rps": min(c.ceiling_rps for c in view.calibrations),
        "shapes": [asdict(c) for c in view.calibrations],
        "schedule_lag_ms": {
            name: max((v for v in values if v is not None), default=None) for name, values in lags.items()
        },
    }
