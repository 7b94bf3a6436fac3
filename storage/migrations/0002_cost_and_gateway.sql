alter table calibrations add column transport text default 'wire';

-- What the requests of a leg to one model took, warm-up and cool-down included. usd is null without a price.
create table costs (
    run_id text not null,
    place integer not null,
    leg_id text not null,
    attempt text not null,
    target text not null,
    series text not null,
    level integer not null,
    model text not null,
    requests bigint not null,
    unknown bigint not null,
    input_tokens bigint not null,
    cached_tokens bigint not null,
    output_tokens bigint not null,
    usd double,
    wasted_requests bigint not null,
    wasted_output_tokens bigint not null,
    wasted_usd double
);

-- What a gateway did with the measured requests of one (attempt, target, series, level). `record` is the whole of it.
create table gateway_facts (
    run_id text not null,
    attempt text not null,
    target text not null,
    series text not null,
    level integer not null,
    requests bigint not null,
    ok bigint not null,
    rate_limited bigint not null,
    fallbacks bigint not null,
    retried bigint not null,
    cache_hits bigint not null,
    other_model bigint not null,
    record json not null,
    primary key (run_id, attempt, target, series, level)
);
