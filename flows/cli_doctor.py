"""`gatebench doctor`: what on this machine would spoil a measurement, and how to mend it."""

import asyncio
import contextlib
import fcntl
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

if TYPE_CHECKING:
    from config.settings import Settings
    from tasks.doctor.finding import Finding
    from tasks.doctor.probes import Mode, Share
    from tasks.doctor.server import Server

EXIT_BAD = 18
WAKES = 200  # timers waited for while the machine is watched
STRANGER = "http://page-of-a-stranger.example"
STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long to watch the machine.")] = 2.0,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """What on this machine would spoil a measurement, and how to mend it. Exits with 18 when something is bad.

    Example: `gatebench doctor`
    """
    settings = common.enter(home)
    from tasks.doctor.finding import Grade, worst

    found = findings(settings, seconds)
    word = worst(found)
    common.write_json(
        json, {"schema": "gatebench.doctor/1", "worst": word.value, "findings": [asdict(one) for one in found]}
    )
    if not quiet and json != "-":
        _print(found)
    return EXIT_BAD if word is Grade.BAD else 0


def findings(settings: "Settings", seconds: float) -> "list[Finding]":
    """Everything that is looked at, the machine first."""
    from storage.machine import cores
    from tasks.doctor import machine, packages, place, probes

    usable = cores()
    share, wake_ms = _watch(seconds, usable or 1.0)
    home = settings.home_path
    lies = next(folder for folder in (home, *home.parents) if folder.is_dir())
    found = machine.machine(probes.facts(cores=usable), share, _stamp_ns(), wake_ms)
    found += [
        place.room(str(home), _free(lies)),
        place.file_system(str(home), probes.file_system(lies)),
        *place.modes(_modes(settings)),
        place.lock(_held(home / "bench.lock")),
        _book(settings),
        *packages.pins(_requirements(), _installed),
    ]
    return found + _server(home)


def _watch(seconds: float, cores: float) -> "tuple[Share | None, float | None]":
    """What others used of the CPU meanwhile, and how late timers woke us (p99, ms)."""
    from tasks.doctor.probes import share, ticks

    before = ticks()
    late = asyncio.run(_wake(seconds))
    after = ticks()
    used = None if before is None or after is None else share(before, after, cores, os.getpid())
    return used, late


async def _wake(seconds: float) -> float:
    from tasks.load.clock import make_wake, perf_counter_ns

    wake = make_wake(asyncio.get_running_loop())
    step = int(seconds * 1e9 / WAKES)
    due = perf_counter_ns() + step
    late = []
    try:
        for _ in range(WAKES):
            await wake.until(due)
            late.append(perf_counter_ns() - due)
            due += step
    finally:
        wake.close()
    return sorted(late)[int(0.99 * WAKES) - 1] / 1e6


def _stamp_ns() -> float:
    """What one reading of the clock costs, its quickest hundred."""
    stamp = time.perf_counter_ns
    rounds = []
    for _ in range(20):
        begun = stamp()
        for _ in range(100):
            stamp()
        rounds.append(stamp() - begun)
    return min(rounds) / 101


def _free(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free


def _modes(settings: "Settings") -> "list[Mode]":
    from tasks.doctor.probes import mode

    file = Path(os.environ.get("GATEBENCH_SETTINGS") or "gatebench.toml")
    holds = "settings with a key" if _holds_a_key(file) else "settings"
    asked = [
        mode(settings.home_path, "the data root"),
        mode(settings.book_path, "the book"),
        mode(file, holds),
    ]
    return [one for one in asked if one is not None]


def _holds_a_key(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.lstrip().startswith(("api_key", "alert_urls")) for line in text.splitlines())


def _held(lock: Path) -> bool:
    """Whether a run holds the lock that only one may hold. It is not made where it is not there."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _book(settings: "Settings") -> "Finding":
    from storage.errors import GatebenchError
    from tasks.doctor import place

    path = settings.book_path
    if not path.exists():
        return place.book(None, None, str(path))
    from storage.store import Book

    try:
        return place.book(None, len(Book(path, min(settings.book_wait_s, 2.0)).runs(1_000_000)), str(path))
    except GatebenchError as error:
        return place.book(str(error), None, str(path))


def _requirements() -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires("gatebench") or []
    except PackageNotFoundError:
        return []


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _server(home: Path) -> "list[Finding]":
    from urllib.parse import urlsplit

    from config.settings import is_loopback
    from deployments.local import sign_in
    from tasks.doctor.server import server

    url = os.environ.get("PREFECT_API_URL")
    if url:
        sign_in(home, url)
    seen = asyncio.run(_ask(url)) if url else None
    return server(seen, _installed("prefect"), is_loopback(urlsplit(url or "").hostname or ""))


async def _ask(url: str) -> "Server":
    """What a Prefect server says of itself, and to whom."""
    import httpx

    from tasks.doctor.server import Server

    login = os.environ.get("PREFECT_API_AUTH_STRING")
    auth = httpx.BasicAuth(*login.split(":", 1)) if login and ":" in login else None
    seen: dict[str, Any] = {}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client:
            health = await client.get("/health")
            if health.status_code != 200:
                return Server(url, error=f"answers {health.status_code} to a health check; does it end in /api?")
            bare = await client.get("/admin/version", headers={"Origin": STRANGER})
            seen["answers_anybody"] = bare.status_code == 200
            seen["answers_any_page"] = bare.headers.get("access-control-allow-origin") in ("*", STRANGER)
            told = await client.get("/admin/version", auth=auth)
            settings = await client.get("/admin/settings", auth=auth)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Server(url, error=f"no Prefect server answers ({type(error).__name__})")
    if settings.status_code == 401:
        return Server(url, error="it refuses us (401): PREFECT_API_AUTH_STRING is not what it expects")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        seen["version"] = told.json()
        kept = settings.json()["server"]
        seen["analytics"] = kept["analytics_enabled"]
        seen["second_ui"] = kept["ui"]["v2_enabled"]
        seen["forgery_checked"] = kept["api"]["csrf_protection_enabled"]
    return Server(url, **seen)


def _print(found: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        table.add_row(Text(one.grade, style=STYLES[one.grade]), one.name, Text(one.found))
        if one.mend:
            table.add_row("", "", Text(f"→ {one.mend}", style="bold"))
    console.print(table)
    counts = {grade: sum(one.grade == grade for one in found) for grade in ("bad", "warn")}
    console.print()
    if not any(counts.values()):
        console.print(Text("nothing here would spoil a measurement", style="green"))
        return
    words = [f"{counts['bad']} bad"] if counts["bad"] else []
    words += [f"{counts['warn']} to be careful about"] if counts["warn"] else []
    last = "mend what is bad before you measure" if counts["bad"] else "nothing that forbids to measure"
    console.print(Text(f"{' and '.join(words)}: {last}", style="bold red" if counts["bad"] else "yellow"))
