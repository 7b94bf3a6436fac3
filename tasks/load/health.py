"""Was the instrument itself the limit? Collected in each worker while a leg runs, pooled and judged afterwards."""

import asyncio
import gc
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from storage.records import Failure, Health, Validity
from tasks.load.lags import Lags, missed
from tasks.load.spec import HealthLimits

_PROBE_S = 0.01
_FOLD = 4096  # lags are counted in lots of this many: about 0.1 ms each


@dataclass(frozen=True, slots=True)
class Vitals:
    """What one worker saw of itself over one leg."""

    lags: Lags  # sent - intended of its measured requests
    loop_lags: Lags  # how late its event loop woke for a timer of its own
    cpu_s: float  # of the time in which it was sending: an open loop only waits after that, a closed one never does
    wall_s: float
    gc_pauses: int
    gc_pause_ns: int
    open_files: int | None
    open_files_limit: int | None
    ports: int | None  # TCP sockets of the machine, those in TIME_WAIT too
    ports_limit: int | None


class Probe:
    """Watches the event loop, the collector and the CPU of this process from `start` until all is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0
        self._pending: list[int] = []
        self._woken: list[int] = []
        self._lags, self._loop_lags = Lags(), Lags()
        self._pauses = self._pause_ns = self._pause_began = 0
        self._cpu = 0.0
        self._wall = 0
        self._sent: tuple[float, float] | None = None

    def start(self, lags_ns: list[int]) -> None:
        """`lags_ns`: the list that the engine appends sent - intended to; emptied now and then, to stay small."""
        self._pending = lags_ns
        gc.freeze()
        gc.callbacks.append(self._collected)
        self._cpu = time.process_time()
        self._wall = perf_counter_ns()
        self._arm()

    def sent_all(self) -> None:
        """Nothing is left to send in an open loop: what follows is waiting, and would make a busy worker look idle."""
        self._sent = time.process_time() - self._cpu, (perf_counter_ns() - self._wall) / 1e9
        if self._handle is not None:
            self._handle.cancel()
        gc.callbacks.remove(self._collected)

    def stop(self) -> Vitals:
        """Called while the leg's connections still stand, for they are what uses up descriptors and ports."""
        if self._sent is None:
            self.sent_all()
        assert self._sent is not None
        cpu_s, wall_s = self._sent
        gc.unfreeze()
        self._fold(1)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Vitals(
            lags=self._lags,
            loop_lags=self._loop_lags,
            cpu_s=cpu_s,
            wall_s=wall_s,
            gc_pauses=self._pauses,
            gc_pause_ns=self._pause_ns,
            open_files=_open_files(),
            open_files_limit=limit if limit != resource.RLIM_INFINITY else None,
            ports=tcp_sockets(),
            ports_limit=ephemeral_ports(),
        )

    def _arm(self) -> None:
        self._due = perf_counter_ns() + int(_PROBE_S * 1e9)
        self._handle = self._loop.call_later(_PROBE_S, self._woke)

    def _woke(self) -> None:
        self._woken.extend(missed(perf_counter_ns() - self._due, int(_PROBE_S * 1e9)))
        self._fold(_FOLD)
        self._arm()

    def _fold(self, least: int) -> None:
        for pending, lags in ((self._pending, self._lags), (self._woken, self._loop_lags)):
            if len(pending) >= least:
                lags.fold(pending)
                pending.clear()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] == 0:
            return
        if phase == "start":
            self._pause_began = perf_counter_ns()
        else:
            self._pauses += 1
            self._pause_ns += perf_counter_ns() - self._pause_began


def health(
    vitals: Sequence[Vitals], *, budget_ms: float, offered_rps: float | None, achieved_rps: float | None
) -> Health:
    """The figures of one leg from those of its workers: lags are pooled, of everything else the worst one stands.

    `budget_ms`: how late a request may leave before it counts as late.
    """
    lags, loop_lags = Lags(), Lags()
    for one in vitals:
        lags.add(one.lags)
        loop_lags.add(one.loop_lags)
    files = max(vitals, key=lambda v: _share(v.open_files, v.open_files_limit) or 0.0, default=None)
    ports = max(vitals, key=lambda v: _share(v.ports, v.ports_limit) or 0.0, default=None)
    return Health(
        schedule_lag_p50_ms=_ms(lags.quantile(0.5)),
        schedule_lag_p99_ms=_ms(lags.quantile(0.99)),
        schedule_lag_max_ms=_ms(lags.quantile(1.0)),
        loop_lag_p99_ms=_worst([_ms(v.loop_lags.quantile(0.99)) for v in vitals]),
        cpu_share=_worst([v.cpu_s / v.wall_s for v in vitals if v.wall_s > 0]),
        offered_rps=offered_rps,
        achieved_rps=achieved_rps,
        gc_pauses=sum(v.gc_pauses for v in vitals),
        open_files=files.open_files if files is not None else None,
        open_files_limit=files.open_files_limit if files is not None else None,
        schedule_lag_over=lags.share_above(budget_ms * 1e6),
        loop_lag_max_ms=_ms(loop_lags.quantile(1.0)),
        gc_pause_ms=round(sum(v.gc_pause_ns for v in vitals) / 1e6, 3),
        gc_share=_worst([v.gc_pause_ns / 1e9 / v.wall_s for v in vitals if v.wall_s > 0]),
        ports=ports.ports if ports is not None else None,
        ports_limit=ports.ports_limit if ports is not None else None,
    )


def _ms(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 4)


def _worst(values: Sequence[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _share(used: int | None, limit: int | None) -> float | None:
    return None if used is None or not limit else used / limit


def _open_files() -> int | None:
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else None


def tcp_sockets(proc: Path = Path("/proc")) -> int | None:
    """TCP sockets in use on this machine and those in TIME_WAIT: each may hold a local port. None: not on Linux."""
    used = 0
    try:
        lines = (proc / "net/sockstat").read_text().splitlines() + (proc / "net/sockstat6").read_text().splitlines()
    except OSError:
        return None
    for words in map(str.split, lines):
        if words[0] in ("TCP:", "TCP6:"):
            counts = dict(zip(words[1::2], map(int, words[2::2]), strict=True))
            used += counts["inuse"] + counts.get("tw", 0)
    return used


def ephemeral_ports(proc: Path = Path("/proc")) -> int | None:
    """How many local ports outgoing connections share. None: not on Linux."""
    try:
        low, high = map(int, (proc / "sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return None
    return high - low + 1


def judge(
    found: Health, limits: HealthLimits, *, failed: dict[str, int], ceiling_rps: float | None
) -> tuple[Validity, list[str]]:
    """Valid, suspect or invalid, with every reason. A slow target never makes a leg invalid; a slow generator does.

    `ceiling_rps`: what all workers of the leg can send together.
    """
    invalid: list[str] = []
    suspect: list[str] = []

    def above(value: float | None, low: float, high: float | None, text: str) -> None:
        if value is not None and value > low:
            (invalid if high is not None and value > high else suspect).append(text.format(value))

    late = "" if found.schedule_lag_over is None else f"; {found.schedule_lag_over:.1%} beyond the budget"
    above(
        found.schedule_lag_p99_ms,
        limits.suspect_lag_p99_ms,
        limits.invalid_lag_p99_ms,
        "generator: requests left late (schedule lag p99 {:.1f} ms" + late + ")",
    )
    above(
        found.loop_lag_p99_ms,
        limits.suspect_loop_lag_p99_ms,
        limits.invalid_loop_lag_p99_ms,
        "generator: the event loop was held up (lag p99 {:.1f} ms)",
    )
    above(
        found.cpu_share,
        limits.suspect_cpu_share,
        limits.invalid_cpu_share,
        "generator: its CPU was busy (share {:.2f})",
    )
    above(found.gc_share, limits.suspect_gc_share, None, "generator: its collector paused it {:.1%} of the time")
    files = _share(found.open_files, found.open_files_limit)
    above(files, limits.suspect_files_share, None, "generator: {:.0%} of its file descriptors were in use")
    ports = _share(found.ports, found.ports_limit)
    above(ports, limits.suspect_ports_share, None, "generator: {:.0%} of the machine's local ports were in use")
    if found.offered_rps and found.achieved_rps is not None:
        share = found.achieved_rps / found.offered_rps
        if share < limits.invalid_achieved_share:
            invalid.append(f"generator: sent only {share:.0%} of the rate asked for")
    if ceiling_rps is not None and found.achieved_rps is not None:
        share = found.achieved_rps / ceiling_rps
        if share > limits.ceiling_share:
            invalid.append(f"generator: ran at {share:.0%} of its own calibrated ceiling ({ceiling_rps:,.0f}/s)")
    if failed.get(Failure.LOCAL):
        invalid.append(f"generator: out of ports or descriptors {failed[Failure.LOCAL]} times")
    if invalid:
        return Validity.INVALID, invalid + suspect
    return (Validity.SUSPECT, suspect) if suspect else (Validity.VALID, [])
