create table schema_migrations (
    version integer primary key,
    name text not null,
    applied_at text not null
);

-- One execution of a flow. `started` is started_at in UTC: the label is for people, this is for order.
create table runs (
    run_id text primary key,
    flow text not null,
    plan_name text not null,
    status text not null,
    scheduled boolean not null,
    started_at text not null,
    started timestamp not null,
    ended_at text,
    verdict text,
    exit_code integer,
    reason text,
    workload_id text,
    seed bigint not null,
    fingerprint text,
    plan json not null,
    environment json not null,
    path text not null,
    report text,
    host text not null,
    pid bigint not null
);

-- One (attempt, block, target, level). `record` is leg.json whole; the columns are what queries ask for.
create table legs (
    run_id text not null,
    leg_id text not null,
    trial_id text not null,
    attempt text not null,
    block integer not null,
    target text not null,
    series text not null,
    level integer not null,
    started_at text not null,
    scheduled bigint not null,
    row_count bigint not null,
    measured bigint not null,
    ok bigint not null,
    dropped bigint not null,
    lost bigint not null,
    validity text not null,
    record json not null,
    primary key (run_id, leg_id)
);

-- target x series x level over all blocks of an attempt: the sums of its legs.
create table trials (
    run_id text not null,
    trial_id text not null,
    attempt text not null,
    target text not null,
    series text not null,
    level integer not null,
    blocks integer not null,
    scheduled bigint not null,
    measured bigint not null,
    ok bigint not null,
    dropped bigint not null,
    lost bigint not null,
    validity text not null
);

-- Seconds, requests a second, tokens a second; for the metric `errors` a share.
create table estimates (
    run_id text not null,
    attempt text not null,
    target text not null,
    series text not null,
    level integer not null,
    metric text not null,
    point double not null,
    lower double,
    upper double,
    n bigint not null,
    blocks integer not null,
    at_least boolean not null
);

create table verdicts (
    run_id text not null,
    place integer not null,
    target text not null,
    series text not null,
    metric text not null,
    level integer,
    effect double,
    lower double,
    upper double,
    p double,
    detectable double,
    verdict text not null,
    reason text not null
);

create table slo_results (
    run_id text not null,
    place integer not null,
    slo_text text not null,
    stat text not null,
    quantity text not null,
    threshold double not null,
    slo_level integer,
    target text not null,
    series text not null,
    level integer not null,
    point double,
    ok boolean
);

create table ceilings (
    run_id text not null,
    place integer not null,
    target text not null,
    point double not null,
    lower double,
    upper double,
    n bigint not null,
    blocks integer not null,
    at_least boolean not null,
    concurrency integer not null,
    reached boolean not null,
    limited_by text not null,
    knee integer
);

create table calibrations (
    run_id text not null,
    stream boolean not null,
    floor_p50_ms double not null,
    floor_p99_ms double not null,
    ceiling_rps double not null,
    lag_p50_ms double,
    lag_p99_ms double,
    lag_max_ms double
);

-- Runs of one segment may be compared. An accepted change opens the next generation of the same key.
create table segments (
    segment_id text primary key,
    segment_key text not null,
    generation integer not null,
    target text not null,
    series text not null,
    workload_id text not null,
    plan_digest text not null,
    fingerprint text not null,
    opened_at text not null,
    opened_by text not null,
    why text not null
);

-- The segments a run was judged in.
create table run_segments (
    run_id text not null,
    segment_id text not null,
    primary key (run_id, segment_id)
);

create sequence baseline_place;

-- What was said of a run, never changed afterwards: the last entry of a (segment, run) counts.
create table baselines (
    place bigint primary key default nextval('baseline_place'),
    segment_id text not null,
    run_id text not null,
    action text not null check (action in ('entered', 'accepted', 'rejected')),
    who text not null,
    why text not null,
    said_at text not null
);

create view baseline_members as
select w.segment_id, w.run_id, r.started
from (
    select segment_id, run_id, action from baselines
    qualify row_number() over (partition by segment_id, run_id order by place desc) = 1
) w
join runs r using (run_id)
where w.action <> 'rejected';

-- Filled by the flows once incidents are kept; the columns follow the life of an incident.
create table incidents (
    incident_id text primary key,
    segment_id text not null,
    family text not null,
    status text not null check (status in ('open', 'acknowledged', 'accepted', 'fixed')),
    opened_run text not null,
    opened_at text not null,
    closed_at text,
    worst_effect double,
    metrics json,
    who text,
    why text
);

create sequence alert_place;

-- Whom an alert went to is a secret of the machine: only how many channels is kept.
create table alerts (
    place bigint primary key default nextval('alert_place'),
    run_id text not null,
    kind text not null,
    channels integer not null,
    title text not null,
    body text not null,
    sent_at text not null,
    error text
);

create table workloads (
    name text primary key,
    workload_id text not null,
    path text not null,
    header json not null,
    pinned boolean not null,
    who text not null,
    why text not null,
    saved_at text not null
);
