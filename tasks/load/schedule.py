"""What one leg sends in its open loop, and when: all of it exists, seeded, before the first send. Pure.

A schedule depends on the leg's spec and workload alone, so every worker of a fleet makes the same one and takes its
stripe of it.
"""

import hashlib
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.errors import UsageError
from storage.records import STRESS
from tasks.load import curve, stress, track
from tasks.load.requests import Arrivals
from tasks.load.spec import LegSpec
from tasks.load.track import Track


class Turn(NamedTuple):
    """The turn of a session that follows another one."""

    position: int  # in the schedule
    think_ns: int  # from the end of the turn before to this one's intended start
    not_before_ns: int  # from t0: where no end of the turn before was recorded, its recorded start


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sequences of equal length, sorted by `due_ns`.

    A request is due at t0 + due_ns, whatever the target does, unless it is a turn of a session that another turn comes
    before: that one is due when the turn before has ended and its think time has passed (see `Turn`), and `due_ns` only
    tells when it was in the plan.
    """

    due_ns: Sequence[int]
    arrival: Sequence[int]  # which arrival of the workload each is made from
    warmup: Sequence[int]  # 1: sent before the measured part; a session is in one part whole
    seq: Sequence[int]  # the number of each in the whole leg, whichever worker sends it
    turns: Mapping[int, Turn] = field(default_factory=dict)  # position of a turn -> the turn after it
    stress: Sequence[int] = b""  # 1: laid on top of a replay; empty: none is

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def measured(self) -> int:
        """Requests of the measured part, stress left out."""
        return len(self.warmup) - sum(self.warmup) - sum(self.stress)

    def label(self, position: int) -> str | None:
        """The stream of a request; None: the leg's own."""
        return STRESS if self.stress and self.stress[position] else None

    @property
    def firsts(self) -> Sequence[int]:
        """Positions of those that wait for no other, in the order they are due."""
        if not self.turns:
            return range(len(self))
        waiting = {turn.position for turn in self.turns.values()}
        return array("q", (k for k in range(len(self)) if k not in waiting))

    @property
    def offered_rps(self) -> float | None:
        """Planned rate of the measured part; None where it is too short to have one, or depends on the target."""
        chosen = [due for due, warm in zip(self.due_ns, self.warmup, strict=True) if not warm]
        if self.turns or len(chosen) < 2:
            return None
        return (len(chosen) - 1) / max((chosen[-1] - chosen[0]) / 1e9, 1e-9)


def of_leg(spec: LegSpec, arrivals: Arrivals) -> Schedule:
    """The whole schedule of an open-loop leg: at a rate where the spec has one, else with the workload's own timing."""
    sessions = _sessions(spec, arrivals)
    if spec.rate_rps is None:
        played = _recorded(spec, track.recorded(arrivals.offset_ns, sessions))
        stressed = None
        if spec.stress is not None and spec.stress.rate_rps is not None:
            rows = order(spec.seed, spec.block, spec.level, len(arrivals))
            played, stressed = stress.lay_over(played, spec.stress, rows, _rng(spec, "stress"))
        turns = _turns(spec, arrivals, played) if sessions is not None else {}
        found = _schedule(played, 0, turns)
        return found if stressed is None else replace(found, stress=stressed.astype(np.uint8).tobytes())
    starts = curve.starts(pieces(spec), spec.cv, _rng(spec, "arrivals"))
    warmup_ns = int(spec.warmup_s * 1e9)
    if sessions is None:
        drawn = np.resize(np.asarray(order(spec.seed, spec.block, spec.level, len(arrivals)), np.int64), len(starts))
        return _schedule(Track(starts, drawn, np.arange(len(starts))), warmup_ns, {})
    played = _begun(spec, arrivals, starts)
    return _schedule(played, warmup_ns, _turns(spec, arrivals, played))


def order(seed: int, block: int, level: int, count: int) -> list[int]:
    """Which arrivals a leg draws, in which order: the same for every target and every night."""
    indices = list(range(count))
    random.Random(f"{seed}/{block}/{level}").shuffle(indices)
    return indices


def pieces(spec: LegSpec) -> list[curve.Piece]:
    """The rate over time that a spec with a rate asks for, its warm-up at the first rate before it."""
    rate, seconds = spec.rate_rps, spec.duration_s
    if rate is None or seconds is None:
        raise UsageError(f"leg {spec.leg_id}: a rate needs a duration")
    if spec.steps:
        whole = [(length, level, level) for level, length in spec.steps]
    elif spec.to_rps is not None:
        whole = [(seconds, rate, spec.to_rps)]
    else:
        return [(spec.warmup_s + seconds, rate, rate)]
    first = whole[0][1]
    return [(spec.warmup_s, first, first), *whole] if spec.warmup_s and first else whole


def stripe(schedule: Schedule, shard: int, shards: int) -> Schedule:
    """Every `shards`-th of those that wait for no other, from number `shard`, each with the turns after it.

    The stripes of a schedule hold each of its requests once. A session stays whole, for its turns wait for each other.
    """
    if not schedule.turns:
        every = slice(shard, None, shards)
        return replace(
            schedule,
            due_ns=schedule.due_ns[every],
            arrival=schedule.arrival[every],
            warmup=schedule.warmup[every],
            seq=schedule.seq[every],
            stress=schedule.stress[every],
        )
    mine: list[int] = []
    for first in schedule.firsts[shard::shards]:
        mine.append(first)
        while (turn := schedule.turns.get(mine[-1])) is not None:
            mine.append(turn.position)
    mine.sort()
    new = {position: k for k, position in enumerate(mine)}
    return replace(
        schedule,
        due_ns=array("q", (schedule.due_ns[k] for k in mine)),
        arrival=array("q", (schedule.arrival[k] for k in mine)),
        warmup=bytes(schedule.warmup[k] for k in mine),
        seq=array("q", (schedule.seq[k] for k in mine)),
        stress=bytes(schedule.stress[k] for k in mine) if schedule.stress else b"",
        turns={new[k]: turn._replace(position=new[turn.position]) for k, turn in schedule.turns.items() if k in new},
    )


def _sessions(spec: LegSpec, arrivals: Arrivals) -> list[str | None] | None:
    if not spec.sessions:
        return None
    if arrivals.session is None or not any(arrivals.session):
        raise UsageError(
            f"the workload {spec.workload} knows no sessions; capture it with --privacy structure, or send without them"
        )
    return arrivals.session


def _recorded(spec: LegSpec, found: Track) -> Track:
    """The cap and the scale count in recorded time, the loop in time as it is played."""
    if spec.max_idle_gap_s is not None:
        found = track.cap_idle(found, int(spec.max_idle_gap_s * 1e9))
    if spec.scale != 1:
        found = track.scale(found, spec.scale, _rng(spec, "scale"))
    found = track.faster(found, spec.speed)
    return found if spec.loop_s is None else track.loop(found, int(spec.loop_s * 1e9))


def _begun(spec: LegSpec, arrivals: Arrivals, starts: NDArray[np.int64]) -> Track:
    """A session begins at each of the starts, drawn in seeded order; its later turns where they were recorded."""
    unit = track.units(arrivals.session or [None] * len(arrivals))
    rows = np.argsort(unit, kind="stable")  # sessions one after the other, each in its own order
    _, begin, length = np.unique(unit[rows], return_index=True, return_counts=True)
    drawn = np.resize(np.asarray(order(spec.seed, spec.block, spec.level, len(begin)), np.int64), len(starts))
    total = length[drawn]
    nth = np.repeat(np.arange(len(starts)), total)
    turn = np.arange(int(total.sum())) - np.repeat(np.cumsum(total) - total, total)
    arrival = rows[begin[drawn][nth] + turn]
    offset = np.asarray(arrivals.offset_ns, dtype=np.int64)
    at = starts[nth] + offset[arrival] - offset[rows[begin[drawn][nth]]]
    by_time = np.argsort(at, kind="stable")
    return Track(at[by_time], arrival[by_time], nth[by_time])


def _turns(spec: LegSpec, arrivals: Arrivals, played: Track) -> dict[int, Turn]:
    """Each turn that has one before it. Its think time is drawn where the spec has a mean for it; else it is the
    recorded time from the end of the turn before to this turn's start, never below 0, divided by the speed; where no
    end was recorded, the turn comes at its recorded start or when the turn before has ended, whichever is later."""
    by_unit = np.lexsort((np.arange(len(played)), played.unit))
    joined = np.flatnonzero(np.diff(played.unit[by_unit]) == 0)
    before, after = by_unit[joined], by_unit[joined + 1]
    if spec.think_s is not None:
        think = _rng(spec, "think").exponential(spec.think_s * 1e9, len(before))
        not_before = np.zeros(len(before))
    else:
        think, known = _recorded_think(spec, arrivals, played.arrival[before], played.arrival[after])
        not_before = np.where(known, 0, played.at_ns[after])
    rows = zip(after.tolist(), think.astype(np.int64).tolist(), not_before.astype(np.int64).tolist(), strict=True)
    return {k: Turn(*row) for k, row in zip(before.tolist(), rows, strict=True)}


def _recorded_think(
    spec: LegSpec, arrivals: Arrivals, before: NDArray[np.int64], after: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(think time in ns, 0 where unknown; whether it is known), by arrivals."""
    offset = np.asarray(arrivals.offset_ns, dtype=np.int64)
    taken = np.array([-1 if d is None else d for d in arrivals.duration_ns or [None] * len(arrivals)], dtype=np.int64)
    known = taken[before] >= 0
    think = np.where(known, np.maximum(offset[after] - offset[before] - taken[before], 0), 0) / spec.speed
    if spec.max_idle_gap_s is not None:
        think = np.minimum(think, spec.max_idle_gap_s * 1e9 / spec.speed)
    return think, known


def _schedule(played: Track, warmup_ns: int, turns: Mapping[int, Turn]) -> Schedule:
    warm = played.at_ns < warmup_ns
    for k, turn in turns.items():  # in the order of their positions: a turn before the turn after it
        warm[turn.position] = warm[k]
    return Schedule(
        array("q", played.at_ns.tobytes()),
        array("q", played.arrival.astype(np.int64).tobytes()),
        warm.astype(np.uint8).tobytes(),
        range(len(played)),
        turns,
    )


def _rng(spec: LegSpec, what: str) -> np.random.Generator:
    """Not by target: all targets of a block get the same load."""
    text = f"{spec.seed}/{spec.block}/{spec.level}/{what}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
