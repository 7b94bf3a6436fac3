"""Incidents, changes of state and drifts in the book. Every function is one step inside a transaction."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from storage.errors import UsageError
from storage.records import Change, Drift, Incident, Symptom, Verdict, to_json
from storage.rows import FROM_JSON, fill
from storage.runs import in_utc

Con = duckdb.DuckDBPyConnection
Step = Callable[[list[Incident], int], tuple[list[Incident], list[Change]]]

OPEN = ("open", "acknowledged")
SELECT = """
select i.incident_id, i.segment_id, s.target, s.series, i.family, i.status, i.opened_run, i.opened_at, i.since,
       i.against, i.symptoms, i.inside, i.last_run, i.regressed_run, i.closed_at
from incidents i join segments s using (segment_id)
"""
PUT = """
insert or replace into incidents (incident_id, segment_id, family, status, opened_run, opened_at, since, against,
                                  symptoms, inside, last_run, regressed_run, closed_at)
values ($incident_id, $segment_id, $family, $status, $opened_run, $opened_at, $since, $against, $symptoms, $inside,
        $last_run, $regressed_run, $closed_at)
"""
PUT_CHANGE = """
insert into changes (incident_id, segment_id, run_id, action, what, who, why, said_at, told)
values ($incident_id, $segment_id, $run_id, $action, $what, $who, $why, $said_at, $told)
"""
SELECT_CHANGE = "select incident_id, segment_id, run_id, action, what, who, why, said_at, told from changes "
PUT_DRIFTS = "insert into drifts " + FROM_JSON
DRIFTS = """
select r.started_at, m.run_id is not null, s.target, s.series, d.metric, d.night, d.effect, d.z, d.c, d.onset,
       d.slope, d.calm, d.alarm
from drifts d join runs r using (run_id) join segments s using (segment_id)
left join baseline_members m using (segment_id, run_id)
where d.segment_id in (select unnest($segment_ids::text[])) and r.started < $before
qualify row_number() over (partition by d.segment_id, d.metric order by r.started desc, d.run_id desc) <= $most
order by r.started, d.run_id, s.target, s.series, d.metric
"""
# The night of an onset: the one that was counted as such, else the last of the anchor before the first that was.
ONSET = """
select r.started_at from drifts d join runs r using (run_id)
where d.segment_id = $segment_id and d.metric = $metric and d.night = $night and r.started < $before
order by r.started desc limit 1
"""
LAST_OF_ANCHOR = """
select r.started_at from baseline_members m join runs r using (run_id)
where m.segment_id = $segment_id
      and m.started < (select min(r2.started) from drifts d join runs r2 using (run_id)
                       where d.segment_id = $segment_id and d.metric = $metric)
order by m.started desc limit 1
"""
LAST_VERDICTS = """
with nights as (
    select rs.run_id, r.started from run_segments rs join runs r using (run_id)
    where rs.segment_id = $segment_id and r.scheduled and r.started < $before and r.status = 'completed'
          and r.verdict <> 'invalid'
    order by r.started desc limit $most
)
select n.run_id, v.target, v.series, v.metric, v.level, v.effect, v.lower, v.upper, v.p, v.detectable, v.verdict,
       v.reason
from nights n join verdicts v using (run_id) join segments s
     on s.segment_id = $segment_id and v.target = s.target and v.series = s.series
order by n.started, v.place
"""


@dataclass(frozen=True, slots=True)
class DriftNight:
    """Where a night left a segment."""

    started_at: str
    in_baseline: bool
    drift: Drift


def keep(con: Con, segment_id: str, run_id: str, step: Step) -> list[Change]:
    """Take the incidents of a segment one night on, in one transaction with what it changed. `step` is pure: the
    incidents that matter and the number of a new one -> those it touched and the changes."""
    touched, changes = step(open_in(con, segment_id, run_id), _next_id(con))
    for incident in touched:
        put(con, incident)
    for change in changes:
        say(con, change)
    return changes


def find(con: Con, name: str) -> Incident:
    """By its number. Raises UsageError naming what there is instead."""
    row = con.execute(SELECT + "where i.incident_id = $name", {"name": name}).fetchone()
    if row is not None:
        return _incident(row)
    there = [one.incident_id for one in listed(con, closed=True)]
    said = f"there are {', '.join(there)}" if there else "there has been none so far"
    raise UsageError(f"no incident {name!r}; {said}")


def listed(con: Con, *, closed: bool) -> list[Incident]:
    """The newest first; `closed`: those that are accepted or fixed too."""
    rows = con.execute(
        SELECT + "where $closed or i.status in ('open', 'acknowledged') order by i.incident_id::bigint desc",
        {"closed": closed},
    ).fetchall()
    return [_incident(row) for row in rows]


def open_in(con: Con, segment_id: str, run_id: str | None = None) -> list[Incident]:
    """Those that are open, and those that this run closed: the run was one of their nights."""
    rows = con.execute(
        SELECT + "where i.segment_id = $segment_id and (i.status in ('open', 'acknowledged') or i.last_run = $run_id)"
        " order by i.opened_at, i.incident_id::bigint",
        {"segment_id": segment_id, "run_id": run_id},
    ).fetchall()
    return [_incident(row) for row in rows]


def acknowledge(con: Con, name: str, who: str, why: str, now: str) -> Incident:
    """Somebody knows of it: said once, and its nights stay out of the baseline all the same."""
    incident = find(con, name)
    if incident.status not in OPEN:
        raise UsageError(f"incident {name} is {incident.status} already; there is nothing to acknowledge")
    if incident.status == "acknowledged":
        return incident
    known = replace(incident, status="acknowledged")
    put(con, known)
    say(con, Change(name, incident.segment_id, incident.last_run, "acknowledged", "", who, why, now, told=False))
    return known


def put(con: Con, incident: Incident) -> None:
    row = {name: getattr(incident, name) for name in Incident.__slots__ if name not in ("target", "series")}
    con.execute(PUT, {**row, "symptoms": json.dumps([to_json(symptom) for symptom in incident.symptoms])})


def say(con: Con, change: Change) -> None:
    con.execute(PUT_CHANGE, to_json(change))


def changes_of(con: Con, *, incident_id: str | None = None, run_id: str | None = None) -> list[Change]:
    """Of an incident or of a run, in order."""
    rows = con.execute(
        SELECT_CHANGE + "where ($incident_id::text is null or incident_id = $incident_id) "
        "and ($run_id::text is null or run_id = $run_id) order by place",
        {"incident_id": incident_id, "run_id": run_id},
    ).fetchall()
    return [Change(*row) for row in rows]


def put_drifts(con: Con, run_id: str, found: Sequence[tuple[str, Drift]]) -> None:
    """(segment, drift) of a run; replaces what it had."""
    con.execute("delete from drifts where run_id = $run_id", {"run_id": run_id})
    fill(con, PUT_DRIFTS, "drifts", [_drift_row(run_id, segment_id, to_json(drift)) for segment_id, drift in found])


def drifts(con: Con, segment_ids: Sequence[str], before: datetime, most: int) -> list[DriftNight]:
    """Where the last `most` nights of each segment left it, oldest first."""
    what = {"segment_ids": list(segment_ids), "before": before, "most": most}
    return [DriftNight(row[0], row[1], Drift(*row[2:])) for row in con.execute(DRIFTS, what).fetchall()]


def onset_of(con: Con, segment_id: str, metric: str, night: int, before: str) -> str | None:
    """started_at of the night on which a drift was last nothing; None if that is not known."""
    where: dict[str, Any] = {"segment_id": segment_id, "metric": metric}
    row = con.execute(ONSET, {**where, "night": night, "before": in_utc(before)}).fetchone()
    row = row or con.execute(LAST_OF_ANCHOR, where).fetchone()
    return row[0] if row else None


def last_verdicts(con: Con, segment_id: str, before: str, most: int) -> list[tuple[str, list[Verdict]]]:
    """(run, verdicts of the segment) of the last scheduled, whole, valid nights of a segment, oldest first."""
    what = {"segment_id": segment_id, "before": in_utc(before), "most": most}
    found: dict[str, list[Verdict]] = {}
    for row in con.execute(LAST_VERDICTS, what).fetchall():
        found.setdefault(row[0], []).append(Verdict(*row[1:]))
    return list(found.items())


def _drift_row(run_id: str, segment_id: str, drift: dict[str, Any]) -> dict[str, Any]:
    """The segment says target and series."""
    row = {name: value for name, value in drift.items() if name not in ("target", "series")}
    return {**row, "run_id": run_id, "segment_id": segment_id}


def _next_id(con: Con) -> int:
    row = con.execute("select coalesce(max(incident_id::bigint), 0) + 1 from incidents").fetchone()
    assert row is not None
    return int(row[0])


def _incident(row: tuple[Any, ...]) -> Incident:
    values: dict[str, Any] = dict(zip(Incident.__slots__, row, strict=True))
    symptoms = [Symptom(**symptom) for symptom in json.loads(values["symptoms"])]
    return Incident(**{**values, "symptoms": symptoms})
