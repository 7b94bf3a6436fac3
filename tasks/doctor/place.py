"""Where results are kept: room, file system, who may read them. Pure."""

from collections.abc import Sequence

from storage.disk import LEAST_FREE
from tasks.doctor.finding import Finding, Grade, graded, ok
from tasks.doctor.probes import Mode

ROOM_WARN = 2_000_000_000
GOES = frozenset({"tmpfs", "ramfs"})
SHARED = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs"})


def room(path: str, free: int) -> Finding:
    """`free` bytes where the data root lies."""
    return graded(
        "disk",
        free < LEAST_FREE,
        free < ROOM_WARN,
        f"{free / 1e9:,.1f} GB are free in {path}",
        "free space, or set another GATEBENCH_HOME: a million requests take about 60 MB",
    )


def file_system(path: str, kind: str | None) -> Finding:
    if kind in GOES:
        found = f"{path} lies in memory ({kind}) and is gone at the next start"
        return Finding("file system", Grade.WARN, found, "set GATEBENCH_HOME to a folder on a disk")
    if kind in SHARED:
        return Finding(
            "file system",
            Grade.WARN,
            f"{path} is on a network ({kind})",
            "keep the book on a disk of this machine: locks on network file systems are not to be relied on",
        )
    return ok("file system", kind or "the system does not tell")


def modes(files: Sequence[Mode]) -> list[Finding]:
    """One finding for each that others may read or that is somebody else's; one in all where there is none."""
    found = [finding for finding in map(_mode, files) if finding is not None]
    return found or [ok("file modes", f"{len(files)} looked at, yours alone" if files else "nothing is there yet")]


def _mode(file: Mode) -> Finding | None:
    if not file.mine:
        found = f"{file.path} ({file.kind}) belongs to another user"
        return Finding("file modes", Grade.WARN, found, f"sudo chown -R $USER {file.path}")
    if not file.mode & 0o077:
        return None
    holds = "key" in file.kind
    who = "write" if file.mode & 0o022 else "read"
    return Finding(
        "file modes",
        Grade.BAD if holds or who == "write" else Grade.WARN,
        f"others may {who} {file.path} ({file.kind}, mode {file.mode:04o})",
        f"chmod go= {file.path}",
    )


def book(error: str | None, runs: int | None, path: str) -> Finding:
    """`error`: why the book cannot be read; `runs`: how many are in it, None: there is none yet."""
    if error is not None:
        return Finding("the book", Grade.BAD, error, "see docs/troubleshooting.md, The book")
    return ok("the book", f"none yet in {path}" if runs is None else f"{runs:,} runs in {path}")


def lock(held: bool) -> Finding:
    return graded(
        "other runs",
        False,
        held,
        "another run is measuring here now" if held else "no other run is measuring here",
        "wait for it: two benchmarks on one machine spoil each other, so the second one waits too",
    )
