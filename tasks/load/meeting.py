"""How the workers of a closed loop end together."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

from storage.errors import StorageError

_LOOK_NS = 20_000_000


class Others:
    """Closed loop: each worker keeps the target loaded until all have ended their measured requests, so that the last
    ones are measured under the load of the first. Each says so by an empty file in the leg's folder, at the latest when
    it leaves; it is looked for only in the cool-down, when nothing is measured any more."""

    def __init__(self, folder: Path, shard: int, shards: int, clock: Callable[[], int] = perf_counter_ns) -> None:
        self._mine = mark(folder, shard)
        self._missing = [mark(folder, k) for k in range(shards) if k != shard]
        self._clock = clock
        self._looked: int | None = None

    def all_ended(self) -> bool:
        now = self._clock()
        if self._looked is None:
            self.leave()
        elif now - self._looked < _LOOK_NS:
            return not self._missing
        self._looked = now
        self._missing = [file for file in self._missing if not file.exists()]
        return not self._missing

    def leave(self) -> None:
        """The others need not wait for this one. Raises StorageError."""
        try:
            self._mine.touch()
        except OSError as error:
            raise StorageError(f"cannot write {self._mine}: {error}; free some space") from None


def mark(folder: Path, shard: int) -> Path:
    return folder / f"ended-{shard}"
