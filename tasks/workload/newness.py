"""Which of a plan's logs were not read yet."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from storage.errors import UsageError
from storage.records import LogFile


def unread(paths: Sequence[Path], known: Sequence[LogFile]) -> tuple[list[LogFile], list[LogFile]]:
    """(logs to read, logs that were read under another name). A log is known by path, size and time of change, else by
    its content: one that was renamed by a rotation is not read twice, one that grew is read again, whole.

    Raises UsageError for one that cannot be opened.
    """
    by_place = {(log.path, log.size, log.mtime_ns) for log in known}
    contents = {log.sha256 for log in known}
    fresh: list[LogFile] = []
    moved: list[LogFile] = []
    for path in paths:
        try:
            stat = path.stat()
            place = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
            if place in by_place:
                continue
            with path.open("rb") as file:
                log = LogFile(*place, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UsageError(f"cannot read the log {path}: {error}") from None
        (moved if log.sha256 in contents else fresh).append(log)
        contents.add(log.sha256)
    return fresh, moved
