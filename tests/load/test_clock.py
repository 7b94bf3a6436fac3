"""Being woken at an instant: never before it, and before it only when somebody cuts the sleep short."""

import asyncio
import sys

import pytest

from tasks.load.clock import LoopWake, TimerfdWake, make_wake, perf_counter_ns

MS = 1_000_000
LINUX = sys.platform == "linux"


@pytest.fixture(params=["timerfd", "loop", "spin"] if LINUX else ["loop", "spin"])
async def wake(request):
    loop = asyncio.get_running_loop()
    made = {
        "timerfd": lambda: TimerfdWake(loop),
        "loop": LoopWake,
        "spin": lambda: make_wake(loop, spin=True),
    }[request.param]()
    yield made
    made.close()


async def test_it_wakes_at_its_instant_not_before(wake):
    slack = MS if isinstance(wake, LoopWake) else 0  # a loop's own timers are rounded to its tick
    for _ in range(5):
        due = perf_counter_ns() + 3 * MS
        assert await wake.until(due)
        assert perf_counter_ns() >= due - slack


async def test_an_instant_that_has_passed_is_said_and_nothing_is_waited_for(wake):
    assert not await wake.until(perf_counter_ns() - 1)


async def test_a_sleep_can_be_cut_short_and_the_next_one_is_whole(wake):
    asyncio.get_running_loop().call_later(0.02, wake.cut)
    assert await asyncio.wait_for(wake.until(perf_counter_ns() + 3_600_000 * MS), 10)
    due = perf_counter_ns() + 5 * MS
    await wake.until(due)
    assert perf_counter_ns() >= due - MS


async def test_cutting_when_nobody_sleeps_does_nothing(wake):
    wake.cut()
    due = perf_counter_ns() + 5 * MS
    await wake.until(due)
    assert perf_counter_ns() >= due - MS


@pytest.mark.skipif(not LINUX, reason="only Linux has one")
async def test_linux_has_a_timerfd():
    made = make_wake(asyncio.get_running_loop())
    assert isinstance(made, TimerfdWake)
    made.close()


async def test_who_spins_lets_the_loop_go_on_meanwhile():
    spinning = make_wake(asyncio.get_running_loop(), spin=True)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    seen = []
    for _ in range(10):  # a busy machine may take the core away for all of one
        before = turns
        await spinning.until(perf_counter_ns() + 2 * MS)
        seen.append(turns - before)
    spinning.close()
    assert max(seen) > 10
