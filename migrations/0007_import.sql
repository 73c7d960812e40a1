-- migrate:up

-- An import of accounts and how far it got, so that it can be taken up again.
create table imports (
    import_id text primary key,
    -- What tells its source from others.
    source text not null,
    -- Rows before it are done.
    next_row bigint not null,
    imported bigint not null default 0,
    duplicates bigint not null default 0,
    refused bigint not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create index imports_updated on imports (updated_at);

-- What was wrong with rows, without their values.
create table import_problems (
    import_id text not null references imports on delete cascade,
    row_number bigint not null,
    field text not null,
    rule text not null,
    description text not null
);

create index import_problems_import on import_problems (import_id);

-- migrate:down
