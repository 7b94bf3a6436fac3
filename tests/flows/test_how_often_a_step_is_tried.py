"""A measurement is never repeated silently; everything else is tried again, ever later, and not for ever."""

import importlib
from pathlib import Path

import pytest
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

import flows
import tasks
from storage.errors import StorageError, UsageError
from tasks.again import worth_repeating

ONCE = {"measure", "calibrate", "alert", "forget", "study"}  # of alerts each channel is tried by itself


def those_of(package: object, kind: type) -> list:
    folder = Path(package.__path__[0])
    modules = [importlib.import_module(f"{package.__name__}.{file.stem}") for file in sorted(folder.glob("*.py"))]
    found = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, kind)}
    return list(found.values())


TASKS = those_of(tasks, Task)
FLOWS = those_of(flows, Flow)


def test_there_are_steps_to_look_at():
    assert {"measure", "calibrate", "capture", "summarise", "judge", "report", "alert"} <= {task.name for task in TASKS}
    assert {"nightly", "sweep", "replay", "load", "compare", "ceiling", "resume"} <= {flow.name for flow in FLOWS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_step_takes_an_earlier_result_and_each_has_its_time(task):
    assert task.cache_policy == NO_CACHE  # under the default one, a second look at the disk would see the first's
    assert task.persist_result is False
    assert 0 < task.timeout_seconds <= 6 * 3600


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_measurement_is_tried_once_and_anything_else_ever_later(task):
    if task.name in ONCE:
        assert task.retries == 0
    else:
        assert task.retries == len(task.retry_delay_seconds) == 3
        assert task.retry_delay_seconds == sorted(set(task.retry_delay_seconds))
        assert task.retry_jitter_factor == 0.5


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_flow_is_not_repeated_and_has_its_time(flow):
    assert not flow.retries
    assert 0 < flow.timeout_seconds <= (24 if flow.name == "aa" else 6) * 3600


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StorageError("full"), True),
        (OSError("away"), True),
        (UsageError("no such format"), False),
        (KeyError(0), False),
    ],
)
def test_what_is_wrong_for_good_is_not_tried_again(error, again):
    state = Failed(data=error)
    assert worth_repeating(None, None, state) is again


MEASURING = [
    flow for flow in FLOWS if flow.name in ("nightly", "sweep", "replay", "load", "compare", "ceiling", "resume")
]


@pytest.mark.parametrize("flow", MEASURING, ids=lambda flow: flow.name)
def test_the_end_of_a_measuring_flow_is_told_however_it_comes(flow):
    for hooks in (flow.on_crashed_hooks, flow.on_failure_hooks, flow.on_cancellation_hooks):
        assert [hook.__name__ for hook in hooks] == ["after_the_end"]
        assert list(hooks[0].__annotations__)[:3] == ["flow", "flow_run", "state"]  # Prefect calls it with these names
    assert flow.result_serializer == "json" or flow.result_serializer.type == "json"
