"""Ctrl-C once ends a run in good order: what is in flight has a moment to end, all rows are kept, the run is marked as
cancelled. Twice ends it at once: what is on disk stays, and the next command marks the run as interrupted."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar

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
    """As `asyncio.run`. Raises KeyboardInterrupt when one Ctrl-C has ended it; a second one does `last`. Where Ctrl-C
    is ignored or somebody else's it stays so."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main)
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        return asyncio.run(main)
    pressed = 0

    async def stoppable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal pressed
            pressed += 1
            if pressed == 1:
                screen.say(ONCE)
                loop.call_soon_threadsafe(task.cancel)
            else:
                screen.say(TWICE)
                screen.close()
                last()

        signal.signal(signal.SIGINT, stop)
        return await main

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
