"""A little room on the disk, given up when there is no other left: so that a run can still be closed in the book."""

import contextlib
import os
from pathlib import Path

BYTES = 4 * 1024 * 1024  # the book's last transaction and the manifest


class Reserve:
    """A file of BYTES in the run's folder while the run lives."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".reserve"

    def take(self) -> None:
        """Where there is no room even now, there is none to give up later."""
        with contextlib.suppress(OSError), self._file.open("wb") as file:
            file.write(bytes(BYTES))  # a hole in the file would hold no room
            file.flush()
            os.fsync(file.fileno())

    def give_up(self) -> bool:
        """Whether there is more room now."""
        held = self._file.exists()
        self._file.unlink(missing_ok=True)
        return held
