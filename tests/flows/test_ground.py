"""What is asked before a measurement begins."""

import asyncio
import traceback

import pytest

from flows.ground import patience_s, probe_all
from storage.errors import TargetError, UsageError

TARGET = {"name": "gw", "model": "m"}
NOWHERE = "http://127.0.0.1:9/v1"


def test_a_question_may_take_as_long_as_a_request_and_no_longer_than_the_run(make):
    assert patience_s(make(timeouts={"first_byte_s": 7})) == 7
    assert patience_s(make(timeouts={"first_byte_s": 7}, budget={"wall_s": 3})) == 3
    assert patience_s(make(timeouts={"first_byte_s": 7}, budget={"wall_s": 60})) == 7


async def test_a_target_that_takes_the_connection_and_says_nothing_is_given_up_with_the_budget_s_time(make):
    server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = make(targets=[{**TARGET, "url": f"http://127.0.0.1:{port}/v1"}], budget={"wall_s": 0.2})
    with pytest.raises(TargetError, match="ReadTimeout"):
        await asyncio.wait_for(probe_all(plan), 20)
    server.close()


@pytest.mark.parametrize("key", ["sk-canary\u2026", "sk-canary-caf\xe9", "sk\rcanary", "sk\ncanary", "sk-canary\x01x"])
async def test_a_key_that_no_header_can_carry_is_refused_without_a_word_of_it(make, monkeypatch, key):
    """httpx would say all of it, in its own words and in the repr that Prefect logs."""
    monkeypatch.setenv("GATEBENCH_API_KEY", key)
    with pytest.raises(UsageError, match="the key in GATEBENCH_API_KEY has a character") as refused:
        await probe_all(make(targets=[{**TARGET, "url": NOWHERE}]))
    assert "canary" not in "".join(traceback.format_exception(refused.value)) + repr(refused.value)


@pytest.mark.parametrize(("name", "value"), [("X-Team", "caf\xe9"), ("X-Caf\xe9", "team"), ("X-Team", "a\nb")])
async def test_a_header_of_the_plan_that_http_cannot_carry_is_named(make, name, value):
    plan = make(targets=[{**TARGET, "url": NOWHERE, "headers": {name: value}}])
    with pytest.raises(UsageError, match=f"header {name} of gw has a character that HTTP cannot carry"):
        await probe_all(plan)
