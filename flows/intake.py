"""A night's new logs: read once, turned into a workload, held against the pinned one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.plan import Plan
from config.settings import Settings
from flows.listen import say
from storage.errors import NothingMeasured
from storage.store import Book
from tasks.capture import CapturedFile, capture
from tasks.characterise import pin
from tasks.fidelity import moved, of_new_traffic
from tasks.workload.newness import unread
from tasks.workload.sources import expand


@dataclass(frozen=True, slots=True)
class Intake:
    """`captured` None: no new log, or no request in the new ones. `reports`: fidelity of the new traffic."""

    captured: CapturedFile | None
    reports: list[dict[str, Any]]


async def take_in(plan: Plan, name: str, book: Book, settings: Settings) -> Intake:
    """Capture the plan's logs that were not read before, pin the first capture under `name`, compare later ones with
    the pin. Never changes a pin. Raises UsageError where no source is there, NothingMeasured where nothing is pinned
    either."""
    wanted = plan.capture
    pinned = book.pinned(name)
    there = Path(name) if Path(name).is_file() else None if pinned is None else Path(pinned.path)
    fresh, known = unread(expand(wanted.sources), [] if there is None else book.logs_read(plan.name))
    if not fresh:
        book.remember_logs(plan.name, known)
        say("no new logs since the last capture")
        return Intake(None, [])
    out = settings.workloads_path / f"{plan.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.parquet"
    try:
        found = await capture([log.path for log in fresh], str(out), wanted.format, wanted.privacy)
    except NothingMeasured as error:
        if there is None:
            raise
        say(f"new logs, and no request in them: {error}")
        book.remember_logs(plan.name, [*fresh, *known])
        return Intake(None, [])
    say(f"captured {found.ledger}")
    book.remember_logs(plan.name, [*fresh, *known])
    if there is None:
        pin(book, name, out, who="gatebench", why="first capture of this plan")
        say(f"pinned as {name!r}: nights are judged on it from now on")
        return Intake(found, [])
    return Intake(found, _compared(there, out, name))


def _compared(pinned: Path, new: Path, name: str) -> list[dict[str, Any]]:
    report = of_new_traffic(pinned, new, name)
    if report is None:
        return []
    say(moved(report) or f"new traffic is like the pinned workload: {report['title']}")
    return [report]
