"""One worker's part of a leg, in the worker's process and without Prefect: made ready first, then begun at the instant
that all workers have agreed on. One at a time in a process."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns

from storage.errors import GatebenchError, StorageError
from storage.records import Failure
from tasks.load import health, stress, stripes
from tasks.load import schedule as plan
from tasks.load.clock import Wake, make_wake
from tasks.load.engine import Engine
from tasks.load.flight import Tally
from tasks.load.limits import Stopper
from tasks.load.meeting import Others
from tasks.load.requests import Arrivals, Requests
from tasks.load.schedule import Schedule
from tasks.load.senders import make_sender
from tasks.load.sink import Sink
from tasks.load.spec import LegSpec
from tasks.load.stress import Users
from tasks.load.wire import Limits

_GIVE_UP_S = 1.0
_LOOK_S = 1.0
_LEAD_NS = 20_000_000  # from the first measure of health to the first request, so that this one is on time too


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is prepared. `scheduled`: measured requests of its part."""

    shard: int
    name: str
    scheduled: int
    offered_rps: float | None  # of the whole leg; None in a closed loop


@dataclass(frozen=True, slots=True)
class Done:
    """What one worker did. Instants are nanoseconds from the agreed one."""

    shard: int
    rows: int
    measured: int
    ok: int
    failed: dict[str, int]
    dropped: int
    queued: int
    cycle_ns: int
    first_sent_ns: int
    last_sent_ns: int
    late_ns: int
    started_at: str
    stopped: str | None
    detail: str | None
    target_headers: dict[str, str]
    vitals: health.Vitals


@dataclass(slots=True)
class _Standing:
    """Between `prepare` and the end of `begin`."""

    spec: LegSpec
    schedule: Schedule | None  # open loop
    order: Sequence[int]  # closed loop
    requests: Requests
    scheduled: int
    users: Users | None = None  # of a stress
    interrupt: Callable[[], object] | None = None


_standing: _Standing | None = None
_guard = threading.Lock()


def name_of_this() -> str:
    return f"{socket.gethostname()} (process {os.getpid()})"


def prepare(spec: LegSpec) -> Ready:
    """Read the workload and make the whole schedule. The leg's folder must be there: it is where the parent is too."""
    global _standing  # noqa: PLW0603 - a process measures one thing at a time
    folder = Path(spec.folder)
    if not folder.is_dir():
        raise StorageError(
            f"worker {name_of_this()} does not see {folder}; workers and gatebench must share GATEBENCH_HOME, "
            "for instance over NFS"
        )
    arrivals = Arrivals.read(spec.workload)
    schedule: Schedule | None = None
    users: Users | None = None
    order: list[int] = []
    offered = None
    if spec.loop == "closed":
        order = plan.order(spec.seed, spec.block, spec.level, len(arrivals))
        scheduled = stripes.measured_of(spec)
    else:
        whole = plan.of_leg(spec, arrivals)
        offered = whole.offered_rps
        schedule = plan.stripe(whole, spec.shard, spec.shards) if spec.shards > 1 else whole
        scheduled = schedule.measured
        if spec.stress is not None and len(whole):
            drawn = plan.order(spec.seed, spec.block, spec.level, len(arrivals))
            users = stress.users_of(spec.stress, whole.due_ns[-1], drawn, len(whole), (spec.shard, spec.shards))
    with _guard:
        _standing = _Standing(spec, schedule, order, Requests(spec, arrivals), scheduled, users)
    gc.collect()  # now, for it may take longer than there is time between the choice of the start and the start
    return Ready(spec.shard, name_of_this(), scheduled, offered)


def busiest_rps(spec: LegSpec) -> float | None:
    """Of the leg's whole schedule."""
    return stripes.busiest_rps(plan.of_leg(spec, Arrivals.read(spec.workload)).due_ns)


def begin(leg_id: str, t0_ns: int | None = None) -> Done:
    """Send what was prepared, from `t0_ns` on this machine's monotonic clock; None: in a moment. SIGTERM or `interrupt`
    stop issuing, drain for a second and keep the rows."""
    standing = _standing
    if standing is None or standing.spec.leg_id != leg_id:
        raise GatebenchError(f"worker {name_of_this()} has not prepared leg {leg_id}; it was started anew meanwhile")
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # the sink's thread must not hold the loop up for the usual 5 ms
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_begin(standing, t0_ns))
    finally:
        sys.setswitchinterval(before)
        _forget(standing)


def interrupt() -> None:
    """Stop what this process is measuring, if it is; from any thread."""
    with _guard:
        if _standing is not None and _standing.interrupt is not None:
            _standing.interrupt()


def _forget(standing: _Standing) -> None:
    global _standing  # noqa: PLW0603 - see prepare
    with _guard:
        if _standing is standing:
            _standing = None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _begin(standing: _Standing, agreed_ns: int | None) -> Done:
    spec = standing.spec
    loop = asyncio.get_running_loop()
    folder = Path(spec.folder)
    sink = Sink(folder, _constants(spec), flush_s=spec.flush_s, stem=stripes.stem(spec.shard, spec.shards))
    others = Others(folder, spec.shard, spec.shards)
    stopper = Stopper(spec.budget, spec.breaker, perf_counter_ns())
    sender = make_sender(spec.target.transport, spec.target.url, Limits.seconds(*spec.timeouts_s))
    probe = health.Probe(loop)
    engine = Engine(
        sender,
        standing.requests,
        sink,
        stopper,
        label=spec.stream_label,
        drain_ns=int(spec.drain_s * 1e9),
        stripe=(spec.shard, spec.shards),
        all_ended=lambda: spec.shards == 1 or others.all_ended(),
        sent_all=probe.sent_all,
    )

    def stop() -> None:
        stopper.stop("interrupted", "interrupted")
        loop.call_later(_GIVE_UP_S, engine.give_up, Failure.CANCELLED)

    wake = make_wake(loop, spin=spec.spin)

    def look() -> None:
        """Where the leg has been closed, nobody waits for us any more and nobody may be able to tell us."""
        if (folder / "leg.json").exists():
            stop()
        else:
            loop.call_later(_LOOK_S, look)

    loop.call_later(_LOOK_S, look)
    with _stoppable(standing, loop, stop):
        t0_ns = perf_counter_ns() + _LEAD_NS if agreed_ns is None else agreed_ns
        await wake.until(t0_ns - _LEAD_NS)
        probe.start(engine.tally.lags_ns)
        sink.follow(loop)
        started_at = datetime.now(UTC).isoformat()
        late_ns = max(0, perf_counter_ns() - t0_ns)
        try:
            await _drive(standing, engine, wake, t0_ns)
        finally:
            vitals = probe.stop()
            wake.close()
            try:
                sink.close()
                if spec.shards > 1:
                    others.leave()
            finally:
                await sender.aclose()
    return _done(spec, engine.tally, stopper, vitals, rows=sink.rows, late_ns=late_ns, started_at=started_at)


@contextlib.contextmanager
def _stoppable(standing: _Standing, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """While the leg runs, `interrupt` and, in a process of our own, SIGTERM reach it."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if main:
        loop.add_signal_handler(signal.SIGTERM, stop)
    with _guard:
        standing.interrupt = lambda: loop.call_soon_threadsafe(stop)
    try:
        yield
    finally:
        with _guard:
            standing.interrupt = None
        if main:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # its default, for a moment, would be our death
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


async def _drive(standing: _Standing, engine: Engine, wake: Wake, t0_ns: int) -> None:
    spec = standing.spec
    if standing.schedule is None:
        await wake.until(t0_ns)
        await engine.closed_loop(stripes.users_of(spec), standing.scheduled, standing.order, t0_ns)
    else:
        await engine.open_loop(
            standing.schedule,
            wake,
            max_in_flight=spec.max_in_flight,
            on_full=spec.on_full,
            t0_ns=t0_ns,
            stress=standing.users,
        )


def _constants(spec: LegSpec) -> dict[str, str | int]:
    return {
        "trial_id": spec.trial_id,
        "leg_id": spec.leg_id,
        "attempt": spec.attempt,
        "block": spec.block,
        "target": spec.target.name,
        "level": spec.level,
        "shard": spec.shard,
    }


def _done(
    spec: LegSpec,
    tally: Tally,
    stopper: Stopper,
    vitals: health.Vitals,
    *,
    rows: int,
    late_ns: int,
    started_at: str,
) -> Done:
    return Done(
        shard=spec.shard,
        rows=rows,
        measured=tally.measured,
        ok=tally.ok,
        failed=tally.failed,
        dropped=tally.dropped,
        queued=tally.queued,
        cycle_ns=tally.cycle_ns,
        first_sent_ns=tally.first_sent_ns - tally.t0,
        last_sent_ns=tally.last_sent_ns - tally.t0,
        late_ns=late_ns,
        started_at=started_at,
        stopped=stopper.reason,
        detail=stopper.detail,
        target_headers=tally.target_headers,
        vitals=vitals,
    )
