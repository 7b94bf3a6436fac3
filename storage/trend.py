"""One number night by night, as far back as nights were measured the same way."""

from dataclasses import dataclass

import duckdb

Con = duckdb.DuckDBPyConnection

# The newest segment of each target and series, and the nights of all segments that measured the same: another
# workload or plan is another number; another machine and an accepted change are shown.
NIGHTS = """
with newest as (
    select s.target, s.series, s.workload_id, s.plan_digest from segments s
    join run_segments rs using (segment_id) join runs r using (run_id)
    where $target::text is null or s.target = $target
    qualify row_number() over (partition by s.target, s.series order by r.started desc, s.opened_at desc) = 1
),
nights as (
    select rs.run_id, s.segment_id, s.target, s.series, r.started_at, r.started, r.verdict, r.scheduled
    from newest n join segments s using (target, series, workload_id, plan_digest)
    join run_segments rs using (segment_id) join runs r using (run_id)
    qualify row_number() over (partition by s.target, s.series order by r.started desc) <= $most
)
select n.run_id, n.started_at, n.segment_id, n.target, n.series, n.verdict, n.scheduled, exp(avg(ln(e.point))),
       exists (select 1 from baseline_members m where m.segment_id = n.segment_id and m.run_id = n.run_id)
from nights n join estimates e using (run_id, target, series)
where e.attempt = 'first' and e.metric = $metric and e.point > 0 and ($level::integer is null or e.level = $level)
group by all
order by n.target, n.series, min(n.started), n.run_id
"""


@dataclass(frozen=True, slots=True)
class TrendNight:
    """`value`: seconds or a second, the geometric mean over levels or that of one level."""

    run_id: str
    started_at: str
    segment_id: str
    target: str
    series: str
    verdict: str | None
    scheduled: bool
    value: float
    in_baseline: bool


def nights(con: Con, metric: str, target: str | None, level: int | None, most: int) -> list[TrendNight]:
    """Oldest first within a target and series."""
    what = {"metric": metric, "target": target, "level": level, "most": most}
    return [TrendNight(*row) for row in con.execute(NIGHTS, what).fetchall()]
