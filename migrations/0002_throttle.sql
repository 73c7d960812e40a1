-- migrate:up

-- Wrong passwords and codes in a row, for each name (existing or not) and factor. Spent before the work it guards.
create table failures (
    username_key text not null,
    factor text not null,
    count integer not null,
    locked_until timestamptz not null,
    updated_at timestamptz not null,
    primary key (username_key, factor)
) with (fillfactor = 70);

create index failures_updated on failures (updated_at);

-- Calls in a window that begins with its first call, for each action and source or account, and in all.
create table rate_windows (
    action text not null,
    subject text not null,
    spent integer not null,
    ends_at timestamptz not null,
    primary key (action, subject)
) with (fillfactor = 70);

create index rate_windows_end on rate_windows (ends_at);

-- migrate:down
