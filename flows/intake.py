"""A night's new logs: read once, turned into a workload, held against the pinned one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.plan import Plan
from flows.listen import say
from storage.errors import GatebenchError, NothingMeasured, UsageError
from storage.store import Book
from tasks.capture import CapturedFile, capture
from tasks.characterise import pin
from tasks.fidelity import moved, of_new_traffic
from tasks.workload.newness import unread
from tasks.workload.sources import expand

_SPREAD_SEED = 0  # always the same: the same log is the same workload


@dataclass(frozen=True, slots=True)
class Intake:
    """`captured` None: no new log, or no request in the new ones. `reports`: fidelity of the new traffic."""

    captured: CapturedFile | None
    reports: list[dict[str, Any]]


async def take_in(
    plan: Plan, name: str, book: Book, folder: Path, read: Callable[..., Awaitable[CapturedFile]] = capture
) -> Intake:
    """Capture the plan's logs that were not read before into `folder`, pin the first capture under `name`, compare
    later ones with the pin. Never changes a pin. Where nothing is pinned, raises UsageError without a log that can be
    read and NothingMeasured without a request in it; else says so, in the report too, and lets the night go on."""
    wanted = plan.capture
    pinned = book.pinned(name)
    there = Path(name) if Path(name).is_file() else None if pinned is None else Path(pinned.path)
    try:
        fresh, known = unread(expand(wanted.sources), [] if there is None else book.logs_read(plan.name))
    except UsageError as error:
        return _without(error, there)
    if not fresh:
        book.remember_logs(plan.name, known)
        say("no new logs since the last capture")
        return Intake(None, [])
    out = folder / f"{plan.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.parquet"
    spread_seed = _SPREAD_SEED if wanted.spread else None
    try:
        found = await read(
            [log.path for log in fresh], str(out), wanted.format, wanted.privacy, wanted.map, spread_seed
        )
    except UsageError as error:
        return _without(error, there)
    except NothingMeasured as error:
        taken = _without(error, there)
        book.remember_logs(plan.name, [*fresh, *known])
        return taken
    say(f"captured {found.ledger}")
    book.remember_logs(plan.name, [*fresh, *known])
    if there is None:
        pin(book, name, out, who="gatebench", why="first capture of this plan")
        say(f"pinned as {name!r}: nights are judged on it from now on")
        return Intake(found, [])
    return Intake(found, _compared(there, out, name))


def _without(error: GatebenchError, pinned: Path | None) -> Intake:
    """A night that has a pin goes on without its new logs; one that has none cannot."""
    if pinned is None:
        raise error
    text = f"no new traffic, the pinned workload stands: {error}"
    say(text)
    return Intake(None, [{"about": "capture", "ok": False, "title": text, "measures": [], "notes": []}])


def _compared(pinned: Path, new: Path, name: str) -> list[dict[str, Any]]:
    report = of_new_traffic(pinned, new, name)
    if report is None:
        return []
    say(moved(report) or f"new traffic is like the pinned workload: {report['title']}")
    return [report]
