-- The highest rate that a target kept up with in an open loop. `record` is the whole of it, with every rate that was tried.
create table sustained (
    run_id text not null,
    place integer not null,
    target text not null,
    rate_rps double,
    reached boolean not null,
    limited_by text not null,
    record json not null,
    primary key (run_id, place)
);
