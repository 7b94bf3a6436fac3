"""One leg, whole: a LegSpec in, rows and `leg.json` on disk, a Leg out. Runs in a worker process, without Prefect."""

import asyncio
import json
import signal
import ssl
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns

import httpx

from storage.errors import StorageError
from storage.records import Failure, Health, Leg, Series, Validity
from tasks.load import health, schedule
from tasks.load.clock import make_wake
from tasks.load.engine import Engine, Tally
from tasks.load.limits import Stopper
from tasks.load.other import HttpxSender
from tasks.load.requests import Arrivals, Requests
from tasks.load.sink import Sink
from tasks.load.spec import LegSpec
from tasks.load.wire import Limits, WireTransport

ENGINE_VERSION = 1  # goes up only when a benchmark shows that measurements move
_GIVE_UP_S = 1.0


def run(spec: LegSpec) -> Leg:
    """Run the leg on uvloop where it is installed. SIGTERM stops issuing, drains for a second and keeps the rows."""
    sys.setswitchinterval(0.0005)  # the sink's thread must not hold the loop up for the usual 5 ms
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return asyncio.run(run_leg(spec))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_leg(spec))


async def run_leg(spec: LegSpec) -> Leg:
    loop = asyncio.get_running_loop()
    arrivals = Arrivals.read(spec.workload)
    starts, order = _plan(spec, arrivals)
    folder = Path(spec.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error}; free some space or set another GATEBENCH_HOME") from None
    sink = Sink(folder, _constants(spec), flush_s=spec.flush_s)
    stopper = Stopper(spec.budget, spec.breaker, perf_counter_ns())
    sender = _sender(spec)
    engine = Engine(
        sender, Requests(spec, arrivals), sink, stopper, label=spec.stream_label, drain_ns=int(spec.drain_s * 1e9)
    )

    def interrupt() -> None:
        stopper.stop("interrupted", "interrupted")
        loop.call_later(_GIVE_UP_S, engine.give_up, Failure.CANCELLED)

    loop.add_signal_handler(signal.SIGTERM, interrupt)
    probe = health.Probe(loop)
    started_at = datetime.now(UTC).isoformat()
    probe.start()
    sink.follow(loop)
    try:
        if spec.loop == "closed":
            await engine.closed_loop(spec.level, spec.requests, order)
        else:
            await _open(spec, engine, starts, order)
    finally:
        cpu_s, wall_s = probe.stop()
        loop.remove_signal_handler(signal.SIGTERM)
        try:
            sink.close()
        finally:
            await sender.aclose()
    found = health.health(
        probe,
        engine.tally.lags_ns,
        cpu_s=cpu_s,
        wall_s=wall_s,
        offered_rps=_offered(spec, starts),
        achieved_rps=_achieved(spec, engine.tally),
    )
    leg = replace(
        _leg(spec, engine.tally, stopper, found),
        scheduled=_scheduled(spec, starts),
        rows=sink.rows,
        started_at=started_at,
        duration_s=wall_s,
    )
    leg = replace(leg, lost=max(0, leg.scheduled - leg.measured - leg.dropped))
    write_leg(folder, leg)
    return leg


def _plan(spec: LegSpec, arrivals: Arrivals) -> tuple[list[int], list[int]]:
    """(intended starts in ns, empty in a closed loop; which arrival each request is made from, cycled)."""
    if spec.loop == "closed":
        return [], schedule.order(spec.seed, spec.block, spec.level, len(arrivals))
    if spec.rate_rps is not None and spec.duration_s is not None:
        starts = schedule.constant(spec.rate_rps, spec.warmup_s + spec.duration_s)
        return starts, schedule.order(spec.seed, spec.block, spec.level, len(arrivals))
    return schedule.recorded(arrivals.offset_ns, spec.speed), list(range(len(arrivals)))


def _sender(spec: LegSpec) -> WireTransport | HttpxSender:
    limits = Limits.seconds(*spec.timeouts_s)
    if spec.target.transport == "wire":
        secure = spec.target.url.lower().startswith("https:")
        return WireTransport(limits, tls=ssl.create_default_context() if secure else None)
    pool = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return HttpxSender(httpx.AsyncHTTPTransport(limits=pool), limits)


async def _open(spec: LegSpec, engine: Engine, starts: list[int], order: list[int]) -> None:
    wake = make_wake(asyncio.get_running_loop())
    try:
        await engine.open_loop(
            starts,
            order,
            wake,
            warmup_ns=int(spec.warmup_s * 1e9),
            max_in_flight=spec.max_in_flight,
            on_full=spec.on_full,
        )
    finally:
        wake.close()


def _constants(spec: LegSpec) -> dict[str, str | int]:
    return {
        "trial_id": spec.trial_id,
        "leg_id": spec.leg_id,
        "attempt": spec.attempt,
        "block": spec.block,
        "target": spec.target.name,
        "level": spec.level,
        "shard": 0,
    }


def _leg(spec: LegSpec, tally: Tally, stopper: Stopper, found: Health) -> Leg:
    validity, reasons = _validity(spec, tally, stopper, found)
    return Leg(
        run_id=spec.run_id,
        trial_id=spec.trial_id,
        leg_id=spec.leg_id,
        attempt=spec.attempt,
        block=spec.block,
        target=spec.target.name,
        series=spec.series,
        level=spec.level,
        loop=spec.loop,
        stream=spec.stream is not False,
        url=spec.target.url,
        model=spec.target.model,
        seed=spec.seed,
        workload_id=spec.workload_id,
        started_at="",
        duration_s=0.0,
        scheduled=0,
        rows=0,
        measured=tally.measured,
        ok=tally.ok,
        failed=tally.failed,
        dropped=tally.dropped,
        lost=0,
        validity=validity,
        reasons=reasons,
        stopped=stopper.reason,
        health=found,
        target_headers=tally.target_headers,
        engine_version=ENGINE_VERSION,
    )


def _scheduled(spec: LegSpec, starts: list[int]) -> int:
    """Requests the measured phase is meant to have."""
    return spec.requests if spec.loop == "closed" else sum(1 for s in starts if s >= int(spec.warmup_s * 1e9))


def _offered(spec: LegSpec, starts: list[int]) -> float | None:
    scheduled = _scheduled(spec, starts)
    if spec.loop == "closed" or scheduled < 2:
        return None
    return (scheduled - 1) / max((starts[-1] - starts[-scheduled]) / 1e9, 1e-9)


def _achieved(spec: LegSpec, tally: Tally) -> float | None:
    """Open loop: rate of sending. Closed loop: Little's law, concurrency / mean latency."""
    if spec.loop == "closed":
        return spec.level * tally.measured / (tally.latency_ns / 1e9) if tally.latency_ns else None
    span = tally.last_sent_ns - tally.first_sent_ns
    return (len(tally.lags_ns) + tally.queued - 1) / (span / 1e9) if span > 0 else None


def _validity(spec: LegSpec, tally: Tally, stopper: Stopper, found: Health) -> tuple[Validity, list[str]]:
    if spec.series == Series.CALIBRATION:  # meant to find the limit
        return Validity.VALID, []
    if tally.queued or stopper.reason is not None:
        found = replace(found, offered_rps=None)  # not the generator's doing
    validity, reasons = health.judge(found, spec.health, failed=tally.failed, ceiling_rps=spec.ceiling_rps)
    if tally.queued or tally.dropped:
        word = "dropped" if tally.dropped else "sent late"
        reasons.append(f"max_in_flight ({spec.max_in_flight}) was reached: {tally.queued + tally.dropped} {word}")
        validity = Validity.SUSPECT if validity is Validity.VALID else validity
    if stopper.reason is not None:
        return Validity.INVALID, [stopper.detail or stopper.reason, *reasons]
    return validity, reasons


def write_leg(folder: Path, leg: Leg) -> None:
    """`leg.json`, aside and renamed: where it stands, the leg is closed."""
    aside = folder / "leg.json.tmp"
    try:
        aside.write_text(json.dumps(asdict(leg), indent=1), encoding="utf-8")
        aside.rename(folder / "leg.json")
    except OSError as error:
        raise StorageError(f"cannot write {folder}/leg.json: {error}; free some space") from None
