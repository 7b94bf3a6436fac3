"""How many tokens one word of our prompts is, by the target's own count, so that prompts made from token counts have
the length that they should."""

from collections.abc import Iterable

import httpx

from config.plan import Plan
from config.target import Target
from flows.ground import ask, patience_s
from storage.errors import TargetError
from storage.records import Run
from tasks.load.prompts import Prompts

KEY = "tokens_per_word"  # of the run's environment
_LENGTHS = (40, 240)  # words
_BELIEVED = (0.5, 4.0)


async def tokens_per_word(plan: Plan) -> float | None:
    """Of the first target that tells; all targets get the same words, or they would not be compared on equal work.

    None: no target tells its usage. Two requests, one token out each.
    """
    for target in plan.targets:
        found = await _of(target, patience_s(plan))
        if found is not None:
            return found
    return None


def kept(runs: Iterable[Run], plan_name: str, workload_id: str) -> float | None:
    """What the first of these runs of the same plan and workload used: prompts must not change from night to night
    because a target counts otherwise now. That is for its tokens and its latency to show."""
    for run in runs:
        if run.plan_name == plan_name and run.workload_id == workload_id and KEY in run.environment:
            return float(run.environment[KEY])
    return None


async def _of(target: Target, timeout_s: float) -> float | None:
    """The slope between two lengths: what a gateway or a chat template adds to every prompt falls out, and is measured
    as part of the target. In hundredths, so that it is the same from night to night."""
    prompts = Prompts(1, target.model)
    try:
        counts = [_counted(await ask(target, prompts.text(1, words).decode(), timeout_s)) for words in _LENGTHS]
    except TargetError:
        return None
    if counts[0] is None or counts[1] is None:
        return None
    slope = round((counts[1] - counts[0]) / (_LENGTHS[1] - _LENGTHS[0]), 2)
    return slope if _BELIEVED[0] <= slope <= _BELIEVED[1] else None


def _counted(answer: httpx.Response) -> int | None:
    try:
        count = answer.json()["usage"]["prompt_tokens"]
    except (ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) else None
