"""Open, do, close: the book is held for one short transaction at a time, and waited for when another process has it."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import duckdb

from storage.disk import PRIVATE, make_folder, trouble
from storage.errors import BookLocked, NewerSchema, StorageError
from storage.migrate import migrate

T = TypeVar("T")
Con = duckdb.DuckDBPyConnection
Open = Callable[[Path], Con]

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
# DuckDB locks the file against other processes; against our own threads this does.
IN_THIS_PROCESS = threading.Lock()


def open_file(path: Path) -> Con:
    """A plain connection that asks nothing of the network and leaves the cores to the measurement."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "threads": 1,
    }
    return duckdb.connect(str(path), config=settings)


@dataclass(frozen=True, slots=True)
class Connection:
    """How one book is reached. `wait_s`: how long a locked book is waited for."""

    path: Path
    wait_s: float = 30.0
    open: Open = open_file
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: Random = field(default_factory=Random)

    def do(self, work: Callable[[Con], T], then: Callable[[], None] | None = None) -> T:
        """The result of `work(con)`, run in one transaction. `work` may be run again, so it changes nothing but the
        book. `then` is run once, when the book has it and nobody else has the book yet. Raises BookLocked after
        `wait_s`, StorageError if the file cannot be used."""
        return self._in_turn(lambda: self._once(work, then))

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Within it the file stays open, so that many transactions cost little more than one: opening it takes longer
        than most of them. Other processes wait meanwhile. Raises as `do` does."""
        con = self._in_turn(self._opened)
        try:
            yield
        finally:
            with IN_THIS_PROCESS:
                con.close()

    def _in_turn(self, work: Callable[[], T]) -> T:
        make_folder(self.path.parent)
        deadline = self.clock() + self.wait_s
        if not IN_THIS_PROCESS.acquire(timeout=self.wait_s):
            raise BookLocked(_held(self.path, self.wait_s, None))
        try:
            return self._when_free(work, deadline)
        finally:
            IN_THIS_PROCESS.release()

    def _when_free(self, work: Callable[[], T], deadline: float) -> T:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return work()
            except duckdb.Error as error:
                if not _is_busy(error):
                    told = _told(error, self.path)
                    if told is None:
                        raise
                    raise told from error
                left = deadline - self.clock()
                if left <= 0:
                    raise BookLocked(_held(self.path, self.wait_s, error)) from None
                self.sleep(min(left, pause * (0.5 + self.rng.random())))
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self, work: Callable[[Con], T], then: Callable[[], None] | None) -> T:
        con = self._opened()
        try:
            con.execute("begin")
            result = work(con)
            con.execute("commit")
            if then is not None:
                then()
            return result
        finally:
            con.close()  # a transaction that did not commit is rolled back

    def _opened(self) -> Con:
        if not self.path.exists():
            self._create()
        con = self.open(self.path)
        try:
            migrate(con)
        except BaseException:
            con.close()
            raise
        return con

    def _create(self) -> None:
        """A new book, made aside and linked into place: another process never meets a file that is not yet a book,
        and of two that begin at once one keeps its book and the other joins it."""
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            aside.unlink(missing_ok=True)
            with self.open(aside) as con:
                migrate(con)
            aside.chmod(PRIVATE)
            os.link(aside, self.path)
        except FileExistsError:
            return
        except OSError as error:
            raise trouble(error, self.path) from error
        finally:
            aside.unlink(missing_ok=True)


def _is_busy(error: duckdb.Error) -> bool:
    text = str(error)
    return "Could not set lock on file" in text or (
        isinstance(error, duckdb.TransactionException) and "onflict" in text
    )


def _held(path: Path, wait_s: float, error: duckdb.Error | None) -> str:
    pid = re.search(r"PID (\d+)", str(error))
    who = f"process {pid[1]}" if pid else "another process or thread"
    return (
        f"the book {path} is held by {who}, waited {wait_s:g} s; close that process or wait for it, "
        "raise GATEBENCH_BOOK_WAIT_S, or use another GATEBENCH_HOME"
    )


def _told(error: duckdb.Error, path: Path) -> StorageError | None:
    """What the user should hear of a DuckDB error; None where it is our own bug."""
    text = str(error)
    if "No space left" in text or "not enough" in text.lower():
        return StorageError(f"no space left for the book {path}: nothing of this step was kept; free space and repeat")
    if "version number" in text:
        return NewerSchema(f"the book {path} was written by a newer DuckDB; upgrade, or use another GATEBENCH_HOME")
    if re.search(r"not a valid DuckDB|Corrupt|checksum|Could not read enough|deserializ|WAL", text, re.I):
        return StorageError(
            f"the book {path} is damaged or no gatebench book; `gatebench rebuild` moves it aside and makes it again "
            f"from the files beside it: {_first_line(text)}"
        )
    if isinstance(error, duckdb.IOException | duckdb.PermissionException | duckdb.FatalException):
        return StorageError(f"cannot use the book {path}; check the path and its permissions: {_first_line(text)}")
    return None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]
