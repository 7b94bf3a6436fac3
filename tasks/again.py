"""How often a step is tried, and for how long: a measurement once and never from a cache, everything else again where
that may help. No step's result is taken from an earlier call: what it reads is on disk, and changes."""

from typing import Any

from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.tasks import exponential_backoff

from storage.errors import NothingMeasured, UsageError

LONGEST_S = 6 * 3600  # of a flow, and so of its longest leg
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)  # ours, or a plugin's


def worth_repeating(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """A file that is wrong will be wrong again, and so will code: only what may be different in a moment is tried."""
    return not isinstance(state.data, (UsageError, NothingMeasured, *MISTAKES))


_KEPT = {"cache_policy": NO_CACHE, "persist_result": False}
ONCE: dict[str, Any] = {**_KEPT, "retries": 0, "timeout_seconds": LONGEST_S}
AGAIN: dict[str, Any] = {
    **_KEPT,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_repeating,
    "timeout_seconds": 1800,
}
