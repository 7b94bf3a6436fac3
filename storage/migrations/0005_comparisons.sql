-- Targets that were measured in the same blocks, side by side. `record` is the whole of a comparison.
create table comparisons (
    run_id text not null,
    place integer not null,
    baseline text not null,
    candidate text not null,
    metric text not null,
    level integer,
    effect double,
    verdict text not null,
    record json not null,
    primary key (run_id, place)
);
