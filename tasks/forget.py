"""After a night: samples that are older than this machine keeps them."""

import asyncio
from datetime import UTC, datetime, timedelta

from prefect import task

from config.settings import Settings
from storage.errors import StorageError
from storage.retention import Forgotten, forget_samples
from storage.store import Book
from tasks.again import ONCE
from tasks.charts.words import count


def forget_old(settings: Settings, days: int, now: datetime, *, dry_run: bool = False) -> Forgotten:
    """See `storage.retention.forget_samples`."""
    before = (now - timedelta(days=days)).isoformat()
    said = f"The samples of this run were deleted on {now:%Y-%m-%d}: they were older than {days} days."
    return forget_samples(Book(settings.book_path, settings.book_wait_s), before, said, dry_run=dry_run)


def in_words(found: Forgotten) -> str:
    """One sentence."""
    deleted = f"deleted the samples of {count(len(found.runs), 'run')}, {found.freed / 1e6:,.1f} MB"
    return (
        f"{deleted}; kept those of {count(len(found.kept), 'older run')} that are still needed"
        if found.kept
        else deleted
    )


@task(name="forget", task_run_name="delete old samples", **ONCE)
async def forget() -> list[str]:
    """What was deleted, in a sentence; none where nothing was. That it could not be done is said too: the night stands
    all the same."""
    settings = Settings()
    if settings.keep_samples_days is None:
        return []
    try:
        found = await asyncio.to_thread(forget_old, settings, settings.keep_samples_days, datetime.now(UTC))
    except StorageError as error:
        return [f"old samples were not deleted: {error}"]
    return [in_words(found)] if found.runs else []
