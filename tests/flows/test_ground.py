"""What is asked before a measurement begins."""

import asyncio

import pytest

from flows.ground import patience_s, probe_all
from storage.errors import TargetError

TARGET = {"name": "gw", "model": "m"}


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
