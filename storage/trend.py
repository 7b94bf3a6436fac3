"""One number night by night, as far back as nights were measured the same way, and the baseline it is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

Con = duckdb.DuckDBPyConnection

# Each way in which a target and series were measured, the one of the newest night first, and the nights of all its
# segments: another workload or plan is another number; another machine and an accepted change are shown.
NIGHTS = """
with seen as (
    select s.target, s.series, s.workload_id, s.plan_digest, max(r.started) as newest, max(s.opened_at) as opened
    from segments s join run_segments rs using (segment_id) join runs r using (run_id)
    where ($target::text is null or s.target = $target) and ($until::timestamp is null or r.started <= $until)
    group by all
),
ways as (
    select *, row_number() over (partition by target, series order by newest desc, opened desc) as way from seen
),
nights as (
    select w.way, rs.run_id, s.segment_id, s.target, s.series, r.started_at, r.started, r.verdict, r.scheduled
    from ways w join segments s using (target, series, workload_id, plan_digest)
    join run_segments rs using (segment_id) join runs r using (run_id)
    where ($every or w.way = 1) and ($until::timestamp is null or r.started <= $until)
    qualify row_number() over (partition by s.target, s.series, w.way order by r.started desc) <= $most
)
select n.run_id, n.started_at, n.segment_id, n.target, n.series, n.verdict, n.scheduled, exp(avg(ln(e.point))),
       exists (select 1 from baseline_members m where m.segment_id = n.segment_id and m.run_id = n.run_id),
       case when count(e.lower) = count(*) and min(e.lower) > 0 then exp(avg(ln(e.lower))) end,
       case when count(e.upper) = count(*) and min(e.lower) > 0 then exp(avg(ln(e.upper))) end,
       n.way
from nights n join estimates e using (run_id, target, series)
where e.attempt = 'first' and e.metric = $metric and e.point > 0 and ($level::integer is null or e.level = $level)
group by all
order by n.target, n.series, n.way, min(n.started), n.run_id
"""
ANCHORS = """
with members as (
    select m.segment_id, m.run_id, m.started from baseline_members m
    where m.segment_id in (select unnest($segment_ids::text[]))
          and ($until::timestamp is null or m.started <= $until)
    qualify row_number() over (partition by m.segment_id order by m.started, m.run_id) <= $most
),
nights as (
    select m.segment_id, m.run_id, avg(ln(e.point)) as y
    from members m join segments s using (segment_id)
    join estimates e on e.run_id = m.run_id and e.target = s.target and e.series = s.series
    where e.attempt = 'first' and e.metric = $metric and e.point > 0 and ($level::integer is null or e.level = $level)
    group by all
)
select segment_id, count(*), exp(avg(y)), exp(min(y)), exp(max(y)) from nights group by all order by segment_id
"""


@dataclass(frozen=True, slots=True)
class TrendNight:
    """`value`: seconds or a second, the geometric mean over levels or that of one level. `lower`, `upper`: its 95 %
    interval; of a mean, as wide as if all levels moved together, which is never too narrow."""

    run_id: str
    started_at: str
    segment_id: str
    target: str
    series: str
    verdict: str | None
    scheduled: bool
    value: float
    in_baseline: bool
    lower: float | None = None
    upper: float | None = None
    way: int = 1  # 1: measured as the newest night was; 2: with the workload and plan before that …


@dataclass(frozen=True, slots=True)
class Anchor:
    """The nights that a segment is judged against, of one number: their mean, lowest and highest."""

    segment_id: str
    nights: int
    centre: float
    low: float
    high: float


def nights(
    con: Con, metric: str, target: str | None, level: int | None, most: int, *, every: bool, until: datetime | None
) -> list[TrendNight]:
    """Oldest first within a target, series and way. `every`: what was measured in earlier ways too."""
    what = {"metric": metric, "target": target, "level": level, "most": most, "every": every, "until": until}
    return [TrendNight(*row) for row in con.execute(NIGHTS, what).fetchall()]


def anchors(
    con: Con, segment_ids: Sequence[str], metric: str, level: int | None, most: int, *, until: datetime | None
) -> list[Anchor]:
    """Of the segments that have a baseline with this number: its first `most` nights."""
    what = {"segment_ids": list(segment_ids), "metric": metric, "level": level, "most": most, "until": until}
    return [Anchor(*row) for row in con.execute(ANCHORS, what).fetchall()]
