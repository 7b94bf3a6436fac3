"""What tonight is compared with: the runs in the baselines of its segments, and the frozen anchor as the gate's rows.

Every function on a connection is one step inside a transaction of the book. Only the book is read, never samples.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import polars as pl

from storage import incidents
from storage.errors import UsageError
from storage.records import Change, Incident, Run, RunStatus, Verdict, Word
from storage.runs import find_run, in_utc
from storage.segments import (
    Segment,
    judged_in,
    newest_segment,
    next_generation,
    open_segment,
    segments_of,
)

Con = duckdb.DuckDBPyConnection

JUDGED = ["latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput", "errors"]
HISTORY = """
with anchor as (
    select m.segment_id, m.run_id, m.started from baseline_members m
    where m.segment_id in (select unnest($segment_ids::text[])) and m.started < $before
    qualify row_number() over (partition by m.segment_id order by m.started, m.run_id) <= $max_nights
),
nights as (
    select run_id, dense_rank() over (order by started, run_id) as night
    from (select distinct run_id, started from anchor)
),
measured as (
    select night, e.* from anchor join nights using (run_id) join segments s using (segment_id)
    join estimates e on e.run_id = anchor.run_id and e.target = s.target and e.series = s.series
    where e.target <> 'control'
    union all
    select night, e.* from nights join estimates e using (run_id) where e.target = 'control'
)
select night, target, series, level::bigint as level, metric,
       case when metric = 'errors' then round(point * n) else point end as value, n
from measured
where attempt = 'first' and series <> 'calibration' and metric in (select unnest($metrics::text[]))
order by night, target, series, level, metric
"""
TONIGHT = """
select $night::bigint as night, target, series, level::bigint as level, metric,
       case when metric = 'errors' then round(point * n) else point end as value, n
from estimates
where run_id = $run_id and attempt = $attempt and series <> 'calibration'
      and metric in (select unnest($metrics::text[]))
order by target, series, level, metric
"""


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """One word said about a run in a segment: `entered` (by itself), `accepted`, `rejected`."""

    segment_id: str
    run_id: str
    action: str
    who: str
    why: str
    said_at: str


def may_enter(run: Run, verdicts: Sequence[Verdict], *, resumed: bool, quarantined: bool) -> bool:
    """Does a run enter a segment's baseline by itself? Scheduled, whole, not resumed, outside an open incident of the
    segment, and every verdict of the segment `unchanged` or `inconclusive: n nights`; anything else needs somebody's
    word."""
    whole = run.scheduled and run.status in (RunStatus.RUNNING, RunStatus.COMPLETED) and not resumed
    return whole and not quarantined and bool(verdicts) and all(_quiet(v) for v in verdicts)


def _quiet(verdict: Verdict) -> bool:
    if verdict.verdict == Word.INCONCLUSIVE:
        return re.match(r"(inconclusive: )?(only )?\d+ nights?\b", verdict.reason) is not None
    return verdict.verdict == Word.UNCHANGED


def enter(con: Con, segment_id: str, run_id: str, said: tuple[str, str, str]) -> bool:
    """Put a run into a baseline by itself. False, and nothing written, if something was said of it already."""
    if _last_word(con, segment_id, run_id) is not None:
        return False
    _say(con, segment_id, run_id, ("entered", *said))
    return True


def accept(
    con: Con, name: str, verdicts: Sequence[Verdict], said: tuple[str, str, str], incident: Incident | None = None
) -> list[Segment]:
    """Somebody says that this run is right; `said` = (who, why, when). The segments it is now in.

    Where it was judged regressed or improved, that is a change accepted: the next generation of the segment opens
    with this run as its first night, and the open incidents of the old one are closed. Elsewhere the run joins the
    baseline it was judged against. With an `incident`, only its segment is looked at, and that is a change accepted.
    """
    run_id = find_run(con, name).run_id
    changed = {(v.target, v.series) for v in verdicts if v.verdict in (Word.REGRESSED, Word.IMPROVED)}
    accepted = []
    for segment in _judged_in(con, run_id):
        if incident is not None and segment.segment_id != incident.segment_id:
            continue
        home = segment
        if incident is not None or (segment.target, segment.series) in changed:
            home = next_generation(con, segment, run_id, said)
            _close_incidents(con, segment, home, run_id, said)
        if _last_word(con, home.segment_id, run_id) not in ("accepted", "entered"):
            _say(con, home.segment_id, run_id, ("accepted", *said))
        accepted.append(home)
    return accepted


def new_normal(con: Con, old: Segment, run_ids: Sequence[str], what: str, said: tuple[str, str, str]) -> Segment | None:
    """The nights that were better, tonight last, are the first of the next generation. None if tonight opened it
    before. `what`: how much better, in words."""
    newest = con.execute("select max(generation) from segments where segment_key = $key", {"key": old.segment_key})
    row = newest.fetchone()
    if row is not None and row[0] != old.generation:
        return None
    home = next_generation(con, old, run_ids[-1], said)
    for run_id in run_ids:
        _say(con, home.segment_id, run_id, ("entered", *said))
    incidents.say(con, Change(None, home.segment_id, run_ids[-1], "new_normal", what, *said, told=True))
    return home


def take_nights(
    con: Con, facts: dict[str, str], run_ids: Sequence[str], said: tuple[str, str, str]
) -> tuple[Segment, list[str]]:
    """Nights that were measured elsewhere, oldest first, become the baseline of what `facts` say, by somebody's word.
    The segment, and which of them are new in it.

    They are its only nights to begin with: where it has others already, its next generation opens with these.
    """
    newest = newest_segment(con, facts)
    home = newest
    if home is None:
        home = open_segment(con, facts, said)
    else:
        there = set(members(con, home.segment_id))
        if not there <= set(run_ids) and not set(run_ids) <= there:
            home = next_generation(con, home, run_ids[-1], said)
    new = [run_id for run_id in run_ids if _last_word(con, home.segment_id, run_id) not in ("accepted", "entered")]
    for run_id in new:
        judged_in(con, run_id, home.segment_id)
        _say(con, home.segment_id, run_id, ("accepted", *said))
    if newest is not None and newest.segment_id != home.segment_id:
        _close_incidents(con, newest, home, run_ids[-1], said)
    return home, new


def _close_incidents(con: Con, old: Segment, home: Segment, run_id: str, said: tuple[str, str, str]) -> None:
    who, why, now = said
    for incident in incidents.open_in(con, old.segment_id):
        incidents.put(con, replace(incident, status="accepted", closed_at=now))
        what = f"the new normal of {incident.target} {incident.series}, segment {home.segment_id}"
        incidents.say(
            con, Change(incident.incident_id, old.segment_id, run_id, "accepted", what, who, why, now, told=False)
        )


def reject(con: Con, name: str, said: tuple[str, str, str]) -> list[str]:
    """Take a run out of every baseline, for good until it is accepted; the ids of the segments."""
    run_id = find_run(con, name).run_id
    judged = {segment.segment_id for segment in _judged_in(con, run_id)}
    named = con.execute("select distinct segment_id from baselines where run_id = $run_id", {"run_id": run_id})
    segment_ids = sorted(judged | {row[0] for row in named.fetchall()})
    for segment_id in segment_ids:
        if _last_word(con, segment_id, run_id) != "rejected":
            _say(con, segment_id, run_id, ("rejected", *said))
    return segment_ids


def members(con: Con, segment_id: str) -> list[str]:
    """The runs in a baseline, oldest first."""
    rows = con.execute(
        "select run_id from baseline_members where segment_id = $segment_id order by started, run_id",
        {"segment_id": segment_id},
    ).fetchall()
    return [row[0] for row in rows]


def entries(con: Con, segment_id: str) -> list[BaselineEntry]:
    """Everything that was ever said of the runs of a segment, in order."""
    rows = con.execute(
        "select segment_id, run_id, action, who, why, said_at from baselines where segment_id = $segment_id "
        "order by place",
        {"segment_id": segment_id},
    ).fetchall()
    return [BaselineEntry(*row) for row in rows]


def history(con: Con, segment_ids: Sequence[str], before: str, limit: int) -> pl.DataFrame:
    """The gate's rows of the frozen anchor: the first `limit` runs of each baseline that started before `before`.

    Columns night (1 is the oldest), target, series, level, metric, value (seconds, requests a second, failures) and
    n (requests), with the rows of the control of the same runs. First attempts only.
    """
    what = {"segment_ids": list(segment_ids), "before": in_utc(before), "max_nights": limit, "metrics": JUDGED}
    return pl.DataFrame(con.sql(HISTORY, params=what))


def carried(con: Con, segment_ids: Sequence[str], before: str, limit: int) -> pl.DataFrame:
    """The same rows of the segments whose spread these carry over; none for segments that carry none."""
    rows = con.execute(
        "select distinct carried_from from segments where carried_from is not null "
        "and segment_id in (select unnest($segment_ids::text[]))",
        {"segment_ids": list(segment_ids)},
    ).fetchall()
    return history(con, [row[0] for row in rows], before, limit)


def tonight(con: Con, run_id: str, attempt: str, night: int) -> pl.DataFrame:
    """The same columns of one run, control included."""
    what = {"run_id": run_id, "attempt": attempt, "night": night, "metrics": JUDGED}
    return pl.DataFrame(con.sql(TONIGHT, params=what))


def _judged_in(con: Con, run_id: str) -> list[Segment]:
    found = segments_of(con, run_id)
    if not found:
        raise UsageError(
            f"run {run_id} was never judged, so no baseline knows it; run `gatebench judge {run_id}` first"
        )
    return found


def _last_word(con: Con, segment_id: str, run_id: str) -> str | None:
    row = con.execute(
        "select action from baselines where segment_id = $segment_id and run_id = $run_id order by place desc limit 1",
        {"segment_id": segment_id, "run_id": run_id},
    ).fetchone()
    return row[0] if row else None


def _say(con: Con, segment_id: str, run_id: str, word: tuple[str, str, str, str]) -> None:
    action, who, why, now = word
    con.execute(
        "insert into baselines (segment_id, run_id, action, who, why, said_at) "
        "values ($segment_id, $run_id, $action, $who, $why, $said_at)",
        {"segment_id": segment_id, "run_id": run_id, "action": action, "who": who, "why": why, "said_at": now},
    )
