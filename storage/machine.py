"""The machine a run was measured on: what the record shows, and the few facts that decide what may be compared.

No user name, no environment variable: paths below the home folder are shown with ~.
"""

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

GIT_WAIT_S = 5


def environment(*, home: Path, packages: Sequence[str], engine_version: int, root: Path = Path("/")) -> dict[str, Any]:
    """Everything around a result that it may depend on; a fact that cannot be read is None. Bytes are bytes.

    `packages`: distributions whose version matters; `root`: where /proc, /sys and /etc are read.
    """
    return {
        "package": _version("gatebench"),
        "engine_version": engine_version,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in packages},
        "loop": _loop(),
        "git": git_revision(Path.cwd()),
        "host": platform.node(),
        "os": _os_name(root),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpu_model": _cpu_model(root),
        "cores": cores(root),
        "memory_bytes": _memory_bytes(root),
        "load_average": _load_average(),
        "governor": _line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "container": (root / ".dockerenv").exists() or (root / "run/.containerenv").exists(),
        "container_image": _container_image(root),
        "timezone": f"{datetime.now(UTC).astimezone():%Z %z}",
        "clock_resolution_ns": round(time.get_clock_info("perf_counter").resolution * 1e9),
        "data_path": _short(home),
    }


def fingerprint(env: dict[str, Any]) -> str:
    """16 hex digits of what makes runs comparable: CPU model, cores, kernel major, container image, engine version."""
    kernel = str(env["kernel"]).split(".", maxsplit=1)[0]
    facts = [env["cpu_model"], env["cores"], kernel, env["container_image"], env["engine_version"]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def git_revision(folder: Path) -> dict[str, Any] | None:
    """{"revision", "dirty"} of the checkout that holds `folder`; None outside of one or without git."""
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": None if changes is None else changes != ""}


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _loop() -> str:
    uvloop = _version("uvloop")
    return f"uvloop {uvloop}" if uvloop else "asyncio"


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _entry(path: Path, name: str, sep: str) -> str | None:
    """The value of the first `name sep value` line of a file."""
    for line in (_line(path) or "").splitlines():
        key, found, value = line.partition(sep)
        if found and key.strip() == name:
            return value.strip().strip('"') or None
    return None


def _os_name(root: Path) -> str:
    return _entry(root / "etc/os-release", "PRETTY_NAME", "=") or f"{platform.system()} {platform.release()}"


def _cpu_model(root: Path) -> str | None:
    return _entry(root / "proc/cpuinfo", "model name", ":") or platform.processor() or None


def cores(root: Path = Path("/")) -> float | int | None:
    """Cores this process may use: its affinity, and the CPU quota of its control group where that is less."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = (_line(root / "sys/fs/cgroup/cpu.max") or "").partition(" ")
    if usable is None or not quota.isdigit() or not period.isdigit():
        return usable
    return min(usable, round(int(quota) / int(period), 2))


def _memory_bytes(root: Path) -> int | None:
    """Memory of the machine, or the limit of the control group where that is less."""
    total = _entry(root / "proc/meminfo", "MemTotal", ":")
    machine = int(total.split()[0]) * 1024 if total else None
    limit = _line(root / "sys/fs/cgroup/memory.max")
    if limit is None or not limit.isdigit():
        return machine
    return int(limit) if machine is None else min(machine, int(limit))


def _load_average() -> list[float] | None:
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None


def _container_image(root: Path) -> str | None:
    """The image's digest as Podman tells it, else what our own image carries; never the container's id, which
    changes every night."""
    told = _entry(root / "run/.containerenv", "imageid", "=")
    return told or _line(root / "etc/gatebench-image")


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
