"""Segments: which runs may be compared. Every function on a connection is one step inside a transaction of the book."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import duckdb

Con = duckdb.DuckDBPyConnection

SELECT_OF_RUN_OR_NEWEST = """
select segment_id, segment_key, generation, target, series, workload_id, plan_digest, fingerprint, opened_at, why,
       carried_from
from segments
where segment_key = $key
order by segment_id in (select segment_id from run_segments where run_id = $run_id) desc, generation desc
limit 1
"""
SELECT_OF_RUN = """
select segment_id, segment_key, generation, target, series, workload_id, plan_digest, fingerprint, opened_at, why,
       carried_from
from segments
where segment_id in (select segment_id from run_segments where run_id = $run_id)
order by target, series
"""
SELECT_OPENED_BY_RUN = """
select segment_id, segment_key, generation, target, series, workload_id, plan_digest, fingerprint, opened_at, why,
       carried_from
from segments
where segment_key = $key and generation > $generation
      and segment_id in (select segment_id from baselines where run_id = $run_id)
order by generation desc
limit 1
"""
# Nights that say what a spread is; a segment with fewer hands on what was carried to itself.
ENOUGH_NIGHTS = 10
SELECT_SPREAD = """
select case when (select count(*) from baseline_members m where m.segment_id = s.segment_id) >= $enough
            then s.segment_id else coalesce(s.carried_from, s.segment_id) end
from segments s
where case when $old::text is null
           then s.segment_key <> $key and s.target = $target and s.series = $series
                and s.workload_id = $workload_id and s.plan_digest = $plan_digest
           else s.segment_id = $old end
order by s.opened_at desc, s.generation desc
limit 1
"""
SELECT_ALL = """
select segment_id, segment_key, generation, target, series, workload_id, plan_digest, fingerprint, opened_at, why,
       carried_from
from segments
order by target, series, opened_at, generation
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """Runs that may be compared: same target, series, workload, measuring plan, machine and accepted change."""

    segment_id: str
    segment_key: str
    generation: int
    target: str
    series: str
    workload_id: str
    plan_digest: str
    fingerprint: str
    opened_at: str
    why: str
    carried_from: str | None = None  # the segment whose spread it uses until its own nights are enough


def segment_key(*, target: str, series: str, workload_id: str, plan_digest: str, fingerprint: str) -> str:
    """16 hex digits, the same on every machine and in every version."""
    facts = json.dumps([target, series, workload_id, plan_digest, fingerprint])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def find_segment(con: Con, run_id: str, facts: dict[str, str], now: str) -> Segment:
    """The segment this run is judged in: the one it was judged in before, else the newest generation, else a new one.

    So a run that is judged again is compared with what it was compared with that night. `facts`: the arguments of
    `segment_key`.
    """
    key = segment_key(**facts)
    row = con.execute(SELECT_OF_RUN_OR_NEWEST, {"run_id": run_id, "key": key}).fetchone()
    segment = Segment(*row) if row else _open(con, key, 1, facts, ("gatebench", "first night of its kind", now), None)
    judged_in(con, run_id, segment.segment_id)
    return segment


def newest_segment(con: Con, facts: dict[str, str]) -> Segment | None:
    """The newest generation of what these facts say; None before its first night."""
    row = con.execute(SELECT_OF_RUN_OR_NEWEST, {"run_id": "", "key": segment_key(**facts)}).fetchone()
    return Segment(*row) if row else None


def open_segment(con: Con, facts: dict[str, str], said: tuple[str, str, str]) -> Segment:
    """The first generation, by somebody's word; `said` = (who, why, when)."""
    return _open(con, segment_key(**facts), 1, facts, said, None)


def judged_in(con: Con, run_id: str, segment_id: str) -> None:
    con.execute(
        "insert or ignore into run_segments (run_id, segment_id) values ($run_id, $segment_id)",
        {"run_id": run_id, "segment_id": segment_id},
    )


def segments_of(con: Con, run_id: str) -> list[Segment]:
    """The segments a run was judged in."""
    rows = con.execute(SELECT_OF_RUN, {"run_id": run_id}).fetchall()
    return [Segment(*row) for row in rows]


def all_segments(con: Con) -> list[Segment]:
    rows = con.execute(SELECT_ALL).fetchall()
    return [Segment(*row) for row in rows]


def _open(
    con: Con, key: str, generation: int, facts: dict[str, str], said: tuple[str, str, str], old: str | None
) -> Segment:
    """`old`: the segment that this one follows; None: the newest that measured the same on another machine, if any."""
    who, why, now = said
    asked = {name: facts[name] for name in ("target", "series", "workload_id", "plan_digest")}
    row_of = con.execute(SELECT_SPREAD, {**asked, "key": key, "old": old, "enough": ENOUGH_NIGHTS}).fetchone()
    carried = row_of[0] if row_of else None
    segment = Segment(f"{key}-{generation}", key, generation, **facts, opened_at=now, why=why, carried_from=carried)
    row: dict[str, Any] = {name: getattr(segment, name) for name in Segment.__slots__}
    con.execute(
        "insert into segments (segment_id, segment_key, generation, target, series, workload_id, plan_digest, "
        "fingerprint, opened_at, opened_by, why, carried_from) values ($segment_id, $segment_key, $generation, "
        "$target, $series, $workload_id, $plan_digest, $fingerprint, $opened_at, $opened_by, $why, $carried_from)",
        {**row, "opened_by": who},
    )
    return segment


def next_generation(con: Con, old: Segment, run_id: str, said: tuple[str, str, str]) -> Segment:
    """Opened once for a run: accepting the same change twice is accepting it once."""
    row = con.execute(
        SELECT_OPENED_BY_RUN, {"key": old.segment_key, "generation": old.generation, "run_id": run_id}
    ).fetchone()
    if row:
        return Segment(*row)
    newest = con.execute(
        "select max(generation) from segments where segment_key = $key", {"key": old.segment_key}
    ).fetchone()
    facts = {name: getattr(old, name) for name in ("target", "series", "workload_id", "plan_digest", "fingerprint")}
    return _open(con, old.segment_key, (newest[0] if newest else 0) + 1, facts, said, old.segment_id)
