"""Small files, written aside and renamed, and what to say when the disk will not have them."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from storage.errors import StorageError

WriteText = Callable[[Path, str], None]
PRIVATE = 0o600
LEAST_FREE = 20 * 1024 * 1024  # bytes: the book, Prefect's history and the rows of a short run


def keep_private() -> int:
    """From here on nobody else can read or change what this process and its children write, whatever umask they were
    started with. The umask as it was."""
    before = os.umask(0o077)
    if before != 0o077:
        _AS_STARTED[:] = [before]
    return before


_AS_STARTED: list[int] = []  # the umask before `keep_private`; empty: as it is now


def hand_over(path: Path) -> None:
    """A file or folder that somebody asked for by name, outside of what we keep: open to whom their umask says."""
    now = os.umask(0o077)
    os.umask(now)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~next(iter(_AS_STARTED), now))


def make_folder(path: Path) -> Path:
    """The folder, made for this user alone (0700) with its missing parents. Raises StorageError."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder")
    except OSError as error:
        raise trouble(error, path) from error
    return path


def need_space(folder: Path, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> None:
    """Raises StorageError before anything is measured that could not be kept. `free`: bytes left where a path lies."""
    left = free(make_folder(folder))
    if left < LEAST_FREE:
        raise StorageError(
            f"no space left in {folder}: {left / 1e6:.1f} MB are free, a run needs {LEAST_FREE / 1e6:.0f} MB at least; "
            "free space, or use another GATEBENCH_HOME"
        )


def write_synced(path: Path, text: str) -> None:
    """Write, for this user alone, and wait until the disk has it."""
    with open(path, "w", encoding="utf-8", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def append_synced(path: Path, text: str) -> None:
    """Add whole lines at the end of a file of this user alone, after a last line that was cut off too, and wait until
    the disk has them. Raises StorageError."""
    make_folder(path.parent)
    try:
        with open(path, "ab+", opener=_private) as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise trouble(error, path) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def write_aside(path: Path, text: str, write: WriteText = write_synced) -> None:
    """The whole text or the file as it was: never half of it. Raises StorageError."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside, text)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise trouble(error, path) from error


def give(path: Path, text: str) -> None:
    """A text where somebody asked for it: whole or not at all, and open to whom their umask says, as are the folders
    that had to be made. Raises StorageError."""

    def open_to_them(aside: Path, text: str) -> None:
        write_synced(aside, text)
        hand_over(aside)

    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    write_aside(path, text, open_to_them)
    for folder in made:
        hand_over(folder)


def trouble(error: OSError, path: Path) -> StorageError:
    """One sentence of an OSError, with how to mend it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"no space left to write {path}; free space, or use another GATEBENCH_HOME")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"not allowed to use {path} ({error.strerror}); use a GATEBENCH_HOME of your own")
    return StorageError(f"cannot use {path}: {error.strerror or error}; check GATEBENCH_HOME")
