"""Was the instrument itself the limit? Collected while a leg runs, judged when it has ended."""

import asyncio
import gc
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from storage.records import Failure, Health, Validity
from tasks.load.spec import HealthLimits

_PROBE_S = 0.01


class Probe:
    """Watches the event loop, the collector and the CPU of this process from `start` to `stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0
        self.loop_lags_ns: list[int] = []
        self.gc_pauses = 0
        self._cpu = 0.0
        self._wall = 0

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._collected)
        self._cpu = time.process_time()
        self._wall = perf_counter_ns()
        self._arm()

    def stop(self) -> tuple[float, float]:
        """(CPU seconds, wall seconds) since start."""
        if self._handle is not None:
            self._handle.cancel()
        gc.callbacks.remove(self._collected)
        gc.unfreeze()
        return time.process_time() - self._cpu, (perf_counter_ns() - self._wall) / 1e9

    def _arm(self) -> None:
        self._due = perf_counter_ns() + int(_PROBE_S * 1e9)
        self._handle = self._loop.call_later(_PROBE_S, self._woke)

    def _woke(self) -> None:
        self.loop_lags_ns.append(max(0, perf_counter_ns() - self._due))
        self._arm()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] > 0:
            self.gc_pauses += 1


def quantile(values: Sequence[int], q: float) -> float | None:
    """Nearest-rank quantile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(q * len(ordered)) - 1)])


def health(
    probe: Probe,
    lags_ns: Sequence[int],
    *,
    cpu_s: float,
    wall_s: float,
    offered_rps: float | None,
    achieved_rps: float | None,
) -> Health:
    """The figures of one leg; `lags_ns` are sent - intended of its measured requests."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Health(
        schedule_lag_p50_ms=_ms(quantile(lags_ns, 0.5)),
        schedule_lag_p99_ms=_ms(quantile(lags_ns, 0.99)),
        schedule_lag_max_ms=_ms(quantile(lags_ns, 1.0)),
        loop_lag_p99_ms=_ms(quantile(probe.loop_lags_ns, 0.99)),
        cpu_share=cpu_s / wall_s if wall_s > 0 else None,
        offered_rps=offered_rps,
        achieved_rps=achieved_rps,
        gc_pauses=probe.gc_pauses,
        open_files=_open_files(),
        open_files_limit=limit if limit != resource.RLIM_INFINITY else None,
    )


def _ms(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 4)


def _open_files() -> int | None:
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else None


def judge(
    found: Health, limits: HealthLimits, *, failed: dict[str, int], ceiling_rps: float | None
) -> tuple[Validity, list[str]]:
    """Valid, suspect or invalid, with every reason. A slow target never makes a leg invalid; a slow generator does."""
    invalid: list[str] = []
    suspect: list[str] = []

    def above(value: float | None, low: float, high: float, text: str) -> None:
        if value is not None and value > low:
            (invalid if value > high else suspect).append(text.format(value))

    above(
        found.schedule_lag_p99_ms,
        limits.suspect_lag_p99_ms,
        limits.invalid_lag_p99_ms,
        "generator: requests left late (schedule lag p99 {:.1f} ms)",
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
