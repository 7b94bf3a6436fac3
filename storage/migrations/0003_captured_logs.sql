-- Logs that a plan's captures have read, so that a night reads new ones only.
create table captured_logs (
    plan text not null,
    path text not null,
    size bigint not null,
    mtime_ns bigint not null,
    sha256 text not null,
    captured_at text not null,
    primary key (plan, path)
);
