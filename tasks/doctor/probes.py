"""Reads what the kernel tells of this machine. Every path hangs below `root`; a fact that cannot be read is None."""

import ctypes
import os
import resource
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # guests are within user and nice
_BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU time since boot, in ticks of all cores; `by` process: its name and its ticks."""

    busy: int
    idle: int
    steal: int
    by: dict[int, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Share:
    """What the cores did between two looks, in cores."""

    cores: float
    busy: float
    steal: float
    busiest: tuple[tuple[str, int, float], ...]  # name, process id, cores; the busiest first, ourselves left out


@dataclass(frozen=True, slots=True)
class Mode:
    """Who may read a file. `kind`: what it is to us, as in "the data root"."""

    path: str
    kind: str
    mode: int
    mine: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the machine, at one instant."""

    cores: float | None
    governors: tuple[str, ...]  # one a core; empty: the kernel does not tell
    clock_source: str | None
    synchronised: bool | None
    files_limit: int | None
    files_hard: int | None
    ports: int | None  # local ports that outgoing connections share
    sockets: int | None  # TCP sockets in use, those in TIME_WAIT too
    memory_free: int | None  # bytes
    on_battery: bool
    throttled: int | None  # periods in which the control group's CPU quota was used up


def facts(root: Path = Path("/"), cores: float | None = None) -> Facts:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Facts(
        cores=cores,
        governors=governors(root),
        clock_source=line(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        synchronised=synchronised(),
        files_limit=None if soft == resource.RLIM_INFINITY else soft,
        files_hard=None if hard == resource.RLIM_INFINITY else hard,
        ports=ports(root),
        sockets=sockets(root),
        memory_free=memory_free(root),
        on_battery=on_battery(root),
        throttled=throttled(root),
    )


def line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def governors(root: Path) -> tuple[str, ...]:
    files = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    return tuple(found for found in map(line, files) if found is not None)


def ports(root: Path) -> int | None:
    words = (line(root / "proc/sys/net/ipv4/ip_local_port_range") or "").split()
    return int(words[1]) - int(words[0]) + 1 if len(words) == 2 and all(map(str.isdigit, words)) else None


def sockets(root: Path) -> int | None:
    used = None
    for name in ("sockstat", "sockstat6"):
        for text in (line(root / "proc/net" / name) or "").splitlines():
            words = text.split()
            if words and words[0] in ("TCP:", "TCP6:"):
                counts = dict(zip(words[1::2], words[2::2], strict=False))
                used = (used or 0) + int(counts.get("inuse", 0)) + int(counts.get("tw", 0))
    return used


def memory_free(root: Path) -> int | None:
    """What can be had without swapping: of the machine, or of the control group where that is less."""
    free = None
    for text in (line(root / "proc/meminfo") or "").splitlines():
        if text.startswith("MemAvailable:"):
            free = int(text.split()[1]) * 1024
    limit, used = line(root / "sys/fs/cgroup/memory.max"), line(root / "sys/fs/cgroup/memory.current")
    if limit is None or used is None or not limit.isdigit() or not used.isdigit():
        return free
    left = max(0, int(limit) - int(used))
    return left if free is None else min(free, left)


def on_battery(root: Path) -> bool:
    return any(line(file) == "Discharging" for file in root.glob("sys/class/power_supply/*/status"))


def throttled(root: Path) -> int | None:
    for text in (line(root / "sys/fs/cgroup/cpu.stat") or "").splitlines():
        name, _, value = text.partition(" ")
        if name == "nr_throttled" and value.isdigit():
            return int(value)
    return None


def synchronised() -> bool | None:
    """Whether the kernel's clock follows a time server; None: it does not tell."""
    if sys.platform != "linux":
        return None
    try:
        asked = ctypes.create_string_buffer(512)  # struct timex with modes = 0: only asks
        state = ctypes.CDLL(None).adjtimex(asked)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def ticks(root: Path = Path("/")) -> Ticks | None:
    """None: not on Linux."""
    first = (line(root / "proc/stat") or "").partition("\n")[0].split()
    if not first or first[0] != "cpu":
        return None
    counts = dict(zip(_FIELDS, map(int, first[1:]), strict=False))
    busy = sum(counts.get(name, 0) for name in _BUSY)
    return Ticks(busy, counts["idle"] + counts.get("iowait", 0), counts.get("steal", 0), _processes(root))


def _processes(root: Path) -> dict[int, tuple[str, int]]:
    found = {}
    for file in root.glob("proc/[0-9]*/stat"):
        text = line(file)  # gone meanwhile: None
        if text is None:
            continue
        head, _, rest = text.rpartition(")")
        words = rest.split()
        if len(words) > 12:
            found[int(file.parent.name)] = (head.partition("(")[2], int(words[11]) + int(words[12]))
    return found


def share(before: Ticks, after: Ticks, cores: float, ourselves: int) -> Share | None:
    """None: no time has passed between them."""
    total = after.busy + after.idle + after.steal - before.busy - before.idle - before.steal
    if total <= 0:
        return None
    a_core = total / cores
    mine = after.by.get(ourselves, ("", 0))[1] - before.by.get(ourselves, ("", 0))[1]
    used = [
        (name, pid, (now - before.by[pid][1]) / a_core)
        for pid, (name, now) in after.by.items()
        if pid in before.by and pid != ourselves
    ]
    busiest = sorted((one for one in used if one[2] >= 0.05), key=lambda one: -one[2])[:3]
    busy = max(0.0, (after.busy - before.busy - mine) / a_core)
    return Share(cores, busy, (after.steal - before.steal) / a_core, tuple(busiest))


def file_system(path: Path, root: Path = Path("/")) -> str | None:
    """The kind of file system that a path lies on, as in ext4, tmpfs, nfs4."""
    best: tuple[int, str] | None = None
    for text in (line(root / "proc/self/mountinfo") or "").splitlines():
        head, dash, tail = text.partition(" - ")
        words = head.split()
        if not dash or len(words) < 5:
            continue
        mount = Path(words[4].replace("\\040", " "))
        if path == mount or mount in path.parents:
            length = len(mount.parts)
            if best is None or length >= best[0]:
                best = (length, tail.split()[0])
    return None if best is None else best[1]


def mode(path: Path, kind: str) -> Mode | None:
    """None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Mode(str(path), kind, stat.S_IMODE(found.st_mode), found.st_uid == os.getuid())
