"""Ctrl-C once ends a run in good order: what is in flight has a moment to end, all rows are kept, the run is marked as
cancelled. Twice ends it at once: what is on disk stays, and the next command marks the run as interrupted. SIGTERM,
from `timeout` or a CI job that is cancelled, is one Ctrl-C, however often it comes."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar

from prefect.exceptions import TerminationSignal

T = TypeVar("T")

ONCE = "stopping: what is in flight has a second to end, and every row is kept; Ctrl-C again stops at once"
TWICE = "stopped at once; rows of the last second may be missing"


class Screen(Protocol):
    def say(self, text: str) -> None: ...

    def close(self) -> None:
        """Give the terminal back as it was."""


def leave() -> None:
    """Without another word: our workers, servers and simulators end when we do."""
    os._exit(130)


def run(main: Coroutine[Any, Any, T], screen: Screen, last: Callable[[], None] = leave) -> T:
    """As `asyncio.run`. Raises KeyboardInterrupt when one Ctrl-C or a SIGTERM has ended it; a second Ctrl-C does
    `last`. Where Ctrl-C is ignored or somebody else's it stays so."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is not signal.default_int_handler:
        return asyncio.run(main)
    pressed = 0

    async def stoppable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal pressed
            if number == signal.SIGTERM and pressed:
                return
            pressed += 1
            if pressed == 1:
                screen.say(ONCE)
                loop.call_soon_threadsafe(task.cancel)
            else:
                screen.say(TWICE)
                screen.close()
                last()

        for each in before:
            signal.signal(each, stop)
        return await main

    try:
        return asyncio.run(stoppable())
    except BaseException as error:
        # While a flow runs, Prefect's engine makes a TerminationSignal of a SIGTERM.
        if isinstance(error, TerminationSignal) or (pressed and isinstance(error, asyncio.CancelledError)):
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
