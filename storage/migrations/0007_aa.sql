-- A/A studies: how noisy a setup is, and what the gate makes of that. `record` is the whole of one.
create table noise (
    noise_id text primary key,
    made_at text not null,
    source text not null check (source in ('measured', 'history')),
    target text not null,
    workload_id text not null,
    fingerprint text not null,
    groups integer not null,
    too_noisy boolean not null,
    record json not null
);
