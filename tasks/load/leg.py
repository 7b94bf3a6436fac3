"""One leg, whole: the parts that its workers did are put together into a Leg and `leg.json`. Without Prefect."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from storage.errors import StorageError
from storage.records import Health, Leg, Phase, Series, Validity, Worker
from tasks.load import health, shard
from tasks.load.clock import Offset
from tasks.load.shard import Done, Ready
from tasks.load.spec import LegSpec
from tasks.load.stripes import stem

ENGINE_VERSION = 2  # goes up only when a benchmark shows that measurements move
_LATE_SHARE = 0.05  # of a leg: a worker that begins later than this was not part of the same trial


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that never came back: what it left on disk, of its measured requests, and of all."""

    shard: int
    why: str
    rows: int
    measured: int
    ok: int
    failed: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Sums over the workers."""

    rows: int
    measured: int
    ok: int
    failed: dict[str, int]
    dropped: int
    queued: int
    achieved_rps: float | None


def run(spec: LegSpec) -> Leg:
    """The whole leg in this process, on uvloop where it is installed. SIGTERM stops it and keeps the rows."""
    make_folder(Path(spec.folder))
    ready = shard.prepare(spec)
    done = shard.begin(spec.leg_id)
    leg = merge(spec, [ready], [done], {})
    write_leg(Path(spec.folder), leg)
    return leg


def make_folder(folder: Path) -> None:
    """The leg's folder, empty of parts: rows of an earlier try that was never closed are moved into `unfinished-<n>`
    in it, where no reader of the run takes them for rows of this one. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / "leg.json").exists():
            raise StorageError(f"{folder} is a closed leg; measuring it again would double its rows: start a new run")
        left = [*folder.glob("part-*"), *folder.glob("ended-*")]
        if left:
            aside = folder / f"unfinished-{len(list(folder.glob('unfinished-*'))):d}"
            aside.mkdir(mode=0o700)
            for file in left:
                file.rename(aside / file.name)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error}; free some space or set another GATEBENCH_HOME") from None


def what_is_left(spec: LegSpec, number: int, why: str) -> Lost:
    """What a worker that is gone has left on disk: every part it closed can be read."""
    folder = Path(spec.folder)
    begins = stem(number, spec.shards)
    for half in folder.glob(f"{begins}-*.tmp"):
        half.unlink(missing_ok=True)
    parts = sorted(folder.glob(f"{begins}-*.parquet"))
    if not parts:
        return Lost(number, why, 0, 0, 0, {})
    rows = pl.concat([pl.read_parquet(part, columns=["phase", "failure"]) for part in parts])
    measured = rows.filter(pl.col("phase") == Phase.MEASURED)
    failed = dict(measured.drop_nulls("failure").group_by("failure").len().rows())
    return Lost(number, why, rows.height, measured.height, measured["failure"].null_count(), failed)


def merge(
    spec: LegSpec,
    ready: Sequence[Ready],
    parts: Sequence[Done | Lost],
    clocks: Mapping[int, Offset],
    *,
    cancelled: bool = False,
) -> Leg:
    """`spec` is the whole leg's; `ready` and `parts` have one entry a worker, in the same order; `clocks`, by shard,
    tells those whose clock is not ours; `cancelled`: somebody stopped the leg, and with it all workers."""
    done = [part for part in parts if isinstance(part, Done)]
    lost = [part for part in parts if isinstance(part, Lost)]
    counts = _sum(spec, parts, done)
    offered = ready[0].offered_rps
    found = health.health(
        [part.vitals for part in done],
        budget_ms=spec.health.suspect_lag_p99_ms,
        offered_rps=offered,
        achieved_rps=counts.achieved_rps,
    )
    scheduled = sum(one.scheduled for one in ready)
    missing = max(0, scheduled - counts.measured - counts.dropped)
    stopped, detail = _stopped(done, cancelled or not lost)
    if not missing and all(part.stopped in (None, "budget") for part in done):
        stopped = detail = None  # the last request of the leg was the last of the budget too
    validity, reasons = _validity(spec, counts, detail, found, done, lost, ready)
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
        started_at=min((part.started_at for part in done), default=""),
        duration_s=max((part.vitals.wall_s for part in done), default=0.0),
        scheduled=scheduled,
        rows=counts.rows,
        measured=counts.measured,
        ok=counts.ok,
        failed=counts.failed,
        dropped=counts.dropped,
        lost=missing,
        validity=validity,
        reasons=reasons,
        stopped=stopped,
        health=found,
        target_headers=next((part.target_headers for part in done if part.target_headers), {}),
        engine_version=ENGINE_VERSION,
        workers=[_worker(spec, r, part, clocks) for r, part in zip(ready, parts, strict=True)],
    )


def _sum(spec: LegSpec, parts: Sequence[Done | Lost], done: Sequence[Done]) -> _Counts:
    failed: Counter[str] = Counter()
    for part in parts:
        failed.update(part.failed)
    return _Counts(
        rows=sum(part.rows for part in parts),
        measured=sum(part.measured for part in parts),
        ok=sum(part.ok for part in parts),
        failed=dict(failed),
        dropped=sum(part.dropped for part in done),
        queued=sum(part.queued for part in done),
        achieved_rps=_achieved(spec, done),
    )


def _achieved(spec: LegSpec, done: Sequence[Done]) -> float | None:
    """Open loop: rate of sending. Closed loop: Little's law, concurrency / mean cycle of a user."""
    if spec.loop == "closed":
        cycles = sum(part.cycle_ns for part in done)
        return spec.level * sum(part.measured for part in done) / (cycles / 1e9) if cycles else None
    sending = [part for part in done if part.vitals.lags.count + part.queued]
    if not sending:
        return None
    sent = sum(part.vitals.lags.count + part.queued for part in sending)
    span = max(part.last_sent_ns for part in sending) - min(part.first_sent_ns for part in sending)
    return (sent - 1) / (span / 1e9) if span > 0 else None


def _stopped(done: Sequence[Done], interrupted: bool) -> tuple[str | None, str | None]:
    """(word, sentence) of what stopped a worker, for the others were stopped because of it. Not `interrupted`: what
    stopped them was the loss of one, which is told apart."""
    stopped = [(part.stopped, part.detail) for part in done if part.stopped is not None]
    first = next((one for one in stopped if one[0] != "interrupted"), None)
    if first is not None:
        return first
    return ("interrupted", "interrupted") if interrupted and (stopped or not done) else (None, None)


def _validity(
    spec: LegSpec,
    counts: _Counts,
    stopped: str | None,
    found: Health,
    done: Sequence[Done],
    lost: Sequence[Lost],
    ready: Sequence[Ready],
) -> tuple[Validity, list[str]]:
    names = {one.shard: one.name for one in ready}
    gone = [
        f"lost worker {part.shard} of {len(ready)}, {names[part.shard]}: {part.why}; {part.rows} of its rows are kept"
        for part in lost
    ]
    if spec.series == Series.CALIBRATION:  # meant to find the limit
        return (Validity.INVALID, gone) if gone else (Validity.VALID, [])
    if counts.queued or counts.dropped or stopped is not None or lost:
        found = replace(found, offered_rps=None)  # not the generator's doing
    ceiling = None if spec.ceiling_rps is None else spec.ceiling_rps * len(ready)
    limits = spec.health
    if spec.spin:  # it takes all the CPU there is; the lags tell whether that was enough
        limits = replace(limits, suspect_cpu_share=math.inf, invalid_cpu_share=math.inf)
    validity, reasons = health.judge(found, limits, failed=counts.failed, ceiling_rps=ceiling)
    late = max(done, key=lambda part: part.late_ns, default=None)
    if late is not None and len(ready) > 1 and late.late_ns / 1e6 > spec.health.invalid_lag_p99_ms:
        reasons.append(f"generator: worker {late.shard} began {late.late_ns / 1e6:.0f} ms after the agreed start")
        long = late.late_ns / 1e9 > _LATE_SHARE * late.vitals.wall_s
        validity = Validity.INVALID if long else max(validity, Validity.SUSPECT, key=list(Validity).index)
    if counts.queued or counts.dropped:
        word = "dropped" if counts.dropped else "sent late"
        reasons.append(f"max_in_flight ({spec.max_in_flight}) was reached: {counts.queued + counts.dropped} {word}")
        validity = Validity.SUSPECT if validity is Validity.VALID else validity
    if stopped is not None:
        reasons.insert(0, stopped)
    return (Validity.INVALID, gone + reasons) if gone or stopped is not None else (validity, reasons)


def _worker(spec: LegSpec, ready: Ready, part: Done | Lost, clocks: Mapping[int, Offset]) -> Worker:
    clock = clocks.get(part.shard, Offset(0, 0))
    one = None
    if isinstance(part, Done):
        one = health.health(
            [part.vitals], budget_ms=spec.health.suspect_lag_p99_ms, offered_rps=None, achieved_rps=_achieved_by(part)
        )
    return Worker(
        shard=part.shard,
        name=ready.name,
        rows=part.rows,
        measured=part.measured,
        health=one,
        lost=isinstance(part, Lost),
        late_ms=round(part.late_ns / 1e6, 3) if isinstance(part, Done) else None,
        clock_offset_ms=round(clock.ns / 1e6, 6),
        clock_uncertainty_ms=round(clock.uncertainty_ns / 1e6, 6),
    )


def _achieved_by(part: Done) -> float | None:
    sent, span = part.vitals.lags.count + part.queued, part.last_sent_ns - part.first_sent_ns
    return (sent - 1) / (span / 1e9) if sent > 1 and span > 0 else None


def write_leg(folder: Path, leg: Leg) -> None:
    """`leg.json`, aside and renamed: where it stands, the leg is closed."""
    aside = folder / "leg.json.tmp"
    try:
        aside.write_text(json.dumps(asdict(leg), indent=1), encoding="utf-8")
        aside.rename(folder / "leg.json")
        for file in folder.glob("ended-*"):
            file.unlink()
    except OSError as error:
        raise StorageError(f"cannot write {folder}/leg.json: {error}; free some space") from None
