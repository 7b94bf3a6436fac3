"""Targets side by side, once their legs are measured: compare, measure the candidates once more, compare again."""

from flows.legs import Legs
from flows.listen import say
from flows.specs import paired_specs
from storage.records import Attempt
from tasks.compare import compare_targets
from tasks.judge import Judged
from tasks.summarise import summarise


async def side_by_side(legs: Legs) -> Judged | None:
    """The comparison of a run, with its confirm where one is asked for and needed."""
    setting = legs.setting
    plan = setting.plan
    found = await compare_targets(plan, setting.run_id, False)
    if found is None or not found.candidates or not plan.judge.confirm or legs.stopped() is not None:
        return found
    cells = [(name, level) for name, levels in found.candidates for level in levels]
    where = ", ".join(f"{name} at {', '.join(map(str, levels))}" for name, levels in found.candidates)
    say(f"one may be slower than the other; measuring once more: {where}")
    await legs.run(paired_specs(setting, cells, Attempt.CONFIRM))
    await summarise(plan, setting.run_id)
    return await compare_targets(plan, setting.run_id, True)
