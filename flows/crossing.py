"""What comes out of a flow that did not end as it should, as the error that a user is told."""

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path

import httpx
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun, TerminationSignal
from prefect.flow_engine import FlowRunTimeoutError

from flows.outcome import PRECEDENCE
from storage.disk import trouble
from storage.errors import GatebenchError, Interrupted, StoppedEarly, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)


def told(error: BaseException, server: str, home: Path) -> BaseException:
    """One sentence and an exit code of the contract for what is not our own bug; anything else as it is.

    `server`: where Prefect's API was; `home`: the data root.
    """
    if isinstance(error, BaseExceptionGroup):
        return min((told(leaf, server, home) for leaf in _leaves(error)), key=_rank)
    if isinstance(error, CancelledRun | asyncio.CancelledError | TerminationSignal):  # the last: Prefect's of a SIGTERM
        return Interrupted("the run was cancelled; what was measured so far is kept")
    if isinstance(error, FlowRunTimeoutError):
        return StoppedEarly(f"the run took longer than any may ({error}); what was measured so far is kept")
    if isinstance(error, CrashedRun | FailedRun | httpx.HTTPError):
        return _of_prefect(error, server)
    if isinstance(error, OSError) and error.errno in FULL:
        return trouble(error, Path(error.filename) if isinstance(error.filename, str) else home)
    return error


def _of_prefect(error: BaseException, server: str) -> UsageError:
    said = " ".join(str(error).split())[:200]
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return UsageError(
        f"the Prefect server at {server} did not do its part ({what}); what was measured so far is kept; "
        "is the server up, and has it room?"
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _rank(error: BaseException) -> int:
    """Of several errors our own bug is told, lest it stay hidden; else what the exit codes put first."""
    if not isinstance(error, GatebenchError):
        return -1
    return PRECEDENCE.index(error.exit_code) if error.exit_code in PRECEDENCE else len(PRECEDENCE)
