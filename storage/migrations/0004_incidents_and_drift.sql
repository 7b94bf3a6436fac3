-- Nobody wrote the table of the first schema: incidents are kept from here on. `symptoms`: what was last told of each
-- metric, as JSON; `inside`: nights so far inside the interval again.
drop table incidents;

create table incidents (
    incident_id text primary key,
    segment_id text not null,
    family text not null,
    status text not null check (status in ('open', 'acknowledged', 'accepted', 'fixed')),
    opened_run text not null,
    opened_at text not null,
    since text not null,
    against text not null,
    symptoms json not null,
    inside integer not null,
    last_run text not null,
    regressed_run text not null,
    closed_at text
);

create sequence change_place;

-- Every change of state, never altered afterwards. incident_id is null for a segment that opened by itself.
create table changes (
    place bigint primary key default nextval('change_place'),
    incident_id text,
    segment_id text not null,
    run_id text not null,
    action text not null
        check (action in ('opened', 'joined', 'grew', 'acknowledged', 'accepted', 'fixed', 'new_normal')),
    what text not null,
    who text not null,
    why text not null,
    said_at text not null,
    told boolean not null
);

-- Where the sum of small moves stood after a scheduled night of a segment: all that the next night needs to go on.
create table drifts (
    run_id text not null,
    segment_id text not null,
    metric text not null,
    night integer not null,
    effect double not null,
    z double not null,
    c double not null,
    onset integer,
    slope double,
    calm integer not null,
    alarm boolean not null,
    primary key (run_id, segment_id, metric)
);

-- Whose spread a new segment carries over until its own nights are enough; null: it is the first of its kind.
alter table segments add column carried_from text;
