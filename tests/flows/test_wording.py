"""How long a word of ours is by the target's own count, and that it does not change from night to night."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from config.plan import Plan
from flows.wording import KEY, kept, tokens_per_word
from tests.fakes.servers import Talk, answer, serving


def counting(count: Callable[[int], Any]) -> Callable[[Talk], Any]:
    """Answers with the tokens that `count` makes of the prompt's words."""

    async def behave(talk: Talk) -> None:
        while request := await talk.hear():
            body = json.loads(request.partition(b"\r\n\r\n")[2])
            words = len(body["messages"][0]["content"].split())
            await talk.say(answer(json.dumps({"usage": {"prompt_tokens": count(words)}}).encode()))

    return behave


def plan_for(make: Callable[..., Plan], *urls: str) -> Plan:
    return make(targets=[{"name": f"t{k}", "url": f"{url}/v1", "model": "m"} for k, url in enumerate(urls)])


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (lambda words: words, 1.0),
        (lambda words: 1.3 * words + 20, None),  # half a token is no count
        (lambda words: round(1.3 * words) + 20, 1.3),
        (lambda words: None, None),
        (lambda words: 7, None),  # whatever the prompt: not believed
    ],
)
async def test_a_words_tokens_are_the_slope_of_the_targets_count(make, count, expected):
    async with serving(counting(count)) as server:
        assert await tokens_per_word(plan_for(make, server.url)) == expected


async def test_a_target_that_tells_nothing_leaves_it_to_the_next(make):
    async with serving(counting(lambda words: None)) as silent, serving(counting(lambda words: 2 * words)) as telling:
        assert await tokens_per_word(plan_for(make, silent.url, telling.url)) == 2.0


def test_a_later_run_of_the_same_plan_and_workload_keeps_what_the_last_one_used():
    def run(plan_name: str, workload_id: str, **environment: float) -> Any:
        return SimpleNamespace(plan_name=plan_name, workload_id=workload_id, environment=environment)

    runs = [run("p", "w"), run("p", "other", **{KEY: 3.0}), run("p", "w", **{KEY: 1.3}), run("p", "w", **{KEY: 1.0})]
    assert kept(runs, "p", "w") == 1.3
    assert kept(runs, "q", "w") is None
