"""Plan -> the legs of a run, in the order they are measured. Pure."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from config.load import Load
from config.plan import Plan
from config.target import Target
from config.traffic import Replay
from storage.files import RunFiles
from storage.records import CONTROL, Attempt, Price, Series
from tasks.load.spec import BreakerSpec, BudgetSpec, HealthLimits, LegSpec, StressSpec, TargetSpec


@dataclass(frozen=True, slots=True)
class Setting:
    """What all legs of a run share."""

    plan: Plan
    run_id: str
    runs_path: Path
    workload: str  # Parquet, absolute
    workload_id: str
    flush_s: float
    control_url: str | None
    tokens_per_word: float = 1.0  # of our prompts, see `flows.wording`


def target_spec(target: Target) -> TargetSpec:
    return TargetSpec(
        name=target.name,
        url=target.url,
        model=target.model,
        models=target.models,
        api_key_env=target.api_key_env,
        headers=target.headers,
        query=target.query,
        extra_body=target.extra_body,
        token_param=target.token_param,
        transport=target.transport,
    )


def control_spec(setting: Setting) -> TargetSpec | None:
    """The control target; no key ever goes there."""
    control = setting.plan.control
    url = control.url if control.url else setting.control_url
    return TargetSpec(CONTROL, url, control.model, api_key_env="") if control.enabled and url else None


def sweep_specs(
    setting: Setting, levels: Sequence[tuple[str, int]] | None = None, attempt: str = Attempt.FIRST
) -> list[LegSpec]:
    """Every block is one seeded random pass over all (target, level); `levels` restricts it, as a confirm does.

    The control runs at every level that any target runs at.
    """
    plan = setting.plan
    everyone = [target_spec(target) for target in plan.targets]
    chosen = {(t.name, level) for t in everyone for level in plan.sweep.levels} if levels is None else set(levels)
    control = control_spec(setting)
    legs = []
    for block in range(1, plan.sweep.blocks + 1):
        cells = [(t, level) for t in everyone for level in plan.sweep.levels if (t.name, level) in chosen]
        if control is not None:
            cells += [(control, level) for level in plan.sweep.levels if any(c[1] == level for c in chosen)]
        random.Random(f"{plan.seed}/{attempt}/{block}").shuffle(cells)
        legs += [_sweep_leg(setting, target, level, block, attempt) for target, level in cells]
    return legs


def paired_specs(
    setting: Setting, cells: Sequence[tuple[str, int]] | None = None, attempt: str = Attempt.FIRST
) -> list[LegSpec]:
    """Targets that are compared: every block is one seeded random pass over the levels, and at each level the targets
    are measured straight after one another. Who goes first goes round from block to block, so that nobody always
    follows the same one. Requests, their order and their sizes are the same for all but the salt of their prompts.

    `cells` restricts it to some (target, level), as a confirm does.
    """
    plan = setting.plan
    targets = [target_spec(target) for target in plan.targets]
    control = control_spec(setting)
    legs = []
    drawn = {level: random.Random(f"{plan.seed}/{attempt}/{level}").randrange(10**6) for level in plan.sweep.levels}
    for block in range(1, plan.sweep.blocks + 1):
        levels = list(plan.sweep.levels)
        random.Random(f"{plan.seed}/{attempt}/{block}").shuffle(levels)
        for level in levels:
            here = [t for t in targets if cells is None or (t.name, level) in cells]
            here += [control] if control is not None and here else []
            first = (drawn[level] + block) % max(1, len(here))
            legs += [_sweep_leg(setting, t, level, block, attempt) for t in here[first:] + here[:first]]
    return legs


def _sweep_leg(setting: Setting, target: TargetSpec, level: int, block: int, attempt: str) -> LegSpec:
    sweep = setting.plan.sweep
    trial = f"{attempt}-sweep-{target.name}-c{level}"
    return _leg(
        setting,
        target,
        trial_id=trial,
        leg_id=f"{attempt}-b{block}-{target.name}-c{level}",
        attempt=attempt,
        block=block,
        series=Series.SWEEP,
        level=level,
        loop="closed",
        requests=sweep.requests_per_leg,
        stream=sweep.stream,
    )


def replay_spec(setting: Setting, target: Target, workload: str, attempt: str = Attempt.FIRST) -> LegSpec:
    """`workload`: the part of the workload that is played, as its own Parquet; its speed is set here."""
    replay = setting.plan.replay
    leg_id = f"{attempt}-replay-{target.name}"
    spec = _leg(
        setting,
        target_spec(target),
        trial_id=leg_id,
        leg_id=leg_id,
        attempt=attempt,
        block=1,
        series=Series.REPLAY,
        level=0,
        loop="open",
        speed=replay.speed,
        scale=replay.scale,
        max_idle_gap_s=replay.max_idle_gap_s,
        loop_s=replay.loop_s,
        sessions=replay.sessions,
        spin=replay.spin,
        stress=_stress(replay),
        max_in_flight=replay.max_in_flight,
        on_full=replay.on_full,
    )
    return replace(spec, workload=workload)


def _stress(replay: Replay) -> StressSpec | None:
    stress = replay.stress
    if stress is None:
        return None
    users = 0 if stress.concurrency is None else stress.concurrency
    return StressSpec(stress.rate_rps, users, stress.from_s, stress.until_s)


def load_spec(setting: Setting, target: Target, load: Load) -> LegSpec:
    leg_id = f"{Attempt.FIRST}-load-{target.name}"
    return _leg(
        setting,
        target_spec(target),
        trial_id=leg_id,
        leg_id=leg_id,
        attempt=Attempt.FIRST,
        block=1,
        series=Series.LOAD,
        level=0,
        loop="open",
        rate_rps=load.rate_rps,
        duration_s=load.seconds,
        warmup_s=load.warmup_s,
        cv=load.spread,
        to_rps=load.to_rps,
        steps=tuple((step.rate_rps, step.duration_s) for step in load.steps),
        sessions=load.sessions,
        think_s=load.think_s,
        spin=load.spin,
        stream=load.stream,
        max_in_flight=load.max_in_flight,
        on_full=load.on_full,
    )


def null_spec(setting: Setting, url: str, *, stream: bool, transport: str) -> LegSpec:
    """The calibration's leg: the null responder in the target's place."""
    return _leg(
        setting,
        TargetSpec("null", url, "null", api_key_env="", transport=transport),
        trial_id="calibration",
        leg_id="calibration",
        attempt=Attempt.FIRST,
        block=0,
        series=Series.CALIBRATION,
        level=1,
        loop="closed",
        stream=stream,
    )


def streams(sweep: bool | None, load: bool | None, replayed: float | None) -> list[bool]:
    """The shapes of request that a run sends, streamed first: of its sweep, of its load (None: it has none), and of a
    replay of which this share is streams."""
    asked = {shape for shape in (sweep, load) if shape is not None}
    if replayed is not None:
        asked |= {replayed > 0, replayed == 1}
    return sorted(asked, reverse=True)


def _leg(setting: Setting, target: TargetSpec, *, leg_id: str, **rest: object) -> LegSpec:
    plan = setting.plan
    timeouts = plan.timeouts
    return LegSpec(
        run_id=setting.run_id,
        target=target,
        leg_id=leg_id,
        folder=str(RunFiles(setting.runs_path, setting.run_id).folder / leg_id),
        workload=setting.workload,
        workload_id=setting.workload_id,
        seed=plan.seed,
        timeouts_s=(timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, timeouts.total_s),
        flush_s=setting.flush_s,
        tokens_per_word=setting.tokens_per_word,
        health=HealthLimits(**plan.health.model_dump()),
        breaker=BreakerSpec(**plan.breaker.model_dump()),
        budget=BudgetSpec(prices=price_list(plan)),
        **rest,  # type: ignore[arg-type]
    )


def price_list(plan: Plan) -> dict[str, Price]:
    return {model: Price(**price.model_dump()) for model, price in plan.prices.items()}


def plan_digest(plan: Plan, target: Target, series: str) -> str:
    """Digest of everything that decides what a series measures; only runs with the same one are compared."""
    facts = plan.measuring()
    facts.pop("replay" if series == Series.SWEEP else "sweep", None)
    facts["target"] = target.model_dump(
        mode="json", include={"model", "models", "extra_body", "query", "token_param", "transport"}
    )
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
