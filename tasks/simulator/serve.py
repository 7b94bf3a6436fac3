"""The simulator as a process: listens, says so, and ends with a signal or with its parent."""

import argparse
import asyncio
import ctypes
import errno
import gc
import itertools
import os
import signal
import stat
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from storage.errors import UsageError
from tasks.simulator.connection import Connection
from tasks.simulator.desk import Simulator
from tasks.simulator.model import KEY_VARIABLE, SimConfig
from tasks.simulator.timers import Timers

_BACKLOG = 4096
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m tasks.simulator --config JSON [--with-parent]`: exit code 0, or 2 with a sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tasks.simulator", description=__doc__)
    parser.add_argument("--config", default="{}", help="one JSON object; keys as in SimConfig")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process does")
    options = parser.parse_args(arguments)
    try:
        run(serve(SimConfig.from_json(options.config), os.environ.get(KEY_VARIABLE) or None, options.with_parent))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def run(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 # not on every system
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


async def serve(config: SimConfig, api_key: str | None, with_parent: bool) -> None:
    """Serve until SIGTERM, SIGINT or, if asked for, the end of the parent. Raises UsageError if it cannot listen."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        end_with_parent(loop, stop)
    timers = Timers(loop)
    simulator = Simulator(config, timers, api_key)
    connections: set[Connection] = set()
    numbers = itertools.count(1)
    server = await listen(loop, config, lambda: Connection(simulator, numbers, connections))
    gc.collect()
    gc.freeze()
    host, port = server.sockets[0].getsockname()[:2]
    sys.stdout.write(f"ready http://{f'[{host}]' if ':' in host else host}:{port}/v1\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()
    for connection in list(connections):
        connection.drop()
    timers.close()


async def listen(loop: asyncio.AbstractEventLoop, config: SimConfig, make: Any) -> asyncio.Server:
    """Raises UsageError that names host and port."""
    try:
        return await loop.create_server(make, config.host, config.port, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {config.port} on {config.host} is in use; choose another one, or 0 for a free one"
            ) from None
        raise UsageError(f"cannot listen on {config.host}, port {config.port}: {error}") from None


def end_with_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """End when stdin, a pipe from the parent, does; on Linux also when the kernel says that the parent died.

    The kernel sends its signal when the *thread* that started us ends, so it is believed only if the parent changed.
    """
    parent = os.getppid()

    def parent_thread_ended() -> None:
        if os.getppid() != parent:
            stop.set()

    def stdin_readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    if sys.platform == "linux":
        loop.add_signal_handler(signal.SIGUSR1, parent_thread_ended)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        parent_thread_ended()
    if _is_pipe(0):
        loop.add_reader(0, stdin_readable)


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
