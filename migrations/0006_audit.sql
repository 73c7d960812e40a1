-- migrate:up

-- What happened: who, from where, with what result. Each event carries a keyed digest of itself and of the event before it
-- on its chain; the key is not in the database. Events are only ever inserted, and leave by whole months.
create table audit_events (
    -- Chosen by the user, so that one user's events are on one chain and no lock is everybody's.
    chain smallint not null check (chain between 0 and 15),
    -- From 1 without gaps.
    sequence bigint not null check (sequence > 0),
    -- Never before that of the event before it.
    created_at timestamptz not null,
    kind text not null,
    result text not null check (result in ('SUCCESS', 'FAILURE')),
    -- Of a failure; else empty.
    reason text not null,
    -- No reference: events outlive their users. Null: nobody's, as of a name that does not exist.
    user_id uuid,
    actor text not null,
    session_id uuid,
    request_id text not null,
    -- Without personal data.
    details jsonb not null,
    -- Personal data; null once the user is deleted. The chain has a digest of it, salted so that it tells nothing then.
    username text,
    client_ip text,
    client_user_agent text,
    personal_salt text,
    personal_digest bytea not null,
    -- The master key that digest and personal_digest are of.
    key_id text not null,
    digest bytea not null,
    primary key (chain, sequence, created_at)
) partition by range (created_at);

create index audit_events_user on audit_events (user_id, sequence desc);
create index audit_events_time on audit_events (created_at desc, chain desc, sequence desc);

-- Takes what no month is made for.
create table audit_events_default partition of audit_events default;

-- Where each chain ends. Its lock is the last that a transaction takes.
create table audit_chains (
    chain smallint primary key check (chain between 0 and 15),
    sequence bigint not null default 0,
    digest bytea not null default '',
    last_at timestamptz not null default 'epoch',
    -- Keyed digest of the four; null before the first event.
    seal bytea,
    -- The last event that was removed for its age, and a keyed digest that says so; null before the first.
    pruned_sequence bigint not null default 0,
    pruned_digest bytea not null default '',
    pruned_seal bytea
) with (fillfactor = 50);

insert into audit_chains (chain)
select generate_series(0, 15);

-- Makes the month of a moment unless it is there, and moves its events from the default partition. Gives up after two
-- seconds of waiting for others: it is tried again.
create function audit_make_month(moment timestamptz) returns boolean
    language plpgsql
    set timezone to 'UTC'
    set lock_timeout to '2s'
as $$
declare
    month_begin timestamptz := date_trunc('month', moment);
    month_end timestamptz := date_trunc('month', moment) + interval '1 month';
    parent regclass := 'audit_events';
    month_table text := 'audit_events_' || to_char(month_begin, 'YYYY_MM');
begin
    if exists (
        select from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = parent and c.relname = month_table
    ) then
        return false;
    end if;
    -- Against recording too: what was on its way to the default partition would not fit there any more. And against
    -- reading: who had chosen the partitions to read would look for the moved events where they were.
    lock table only audit_events in access exclusive mode;
    -- Again, for who waited; not by to_regclass, whose cache does not know yet what the wait was for.
    if exists (
        select from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = parent and c.relname = month_table
    ) then
        return false;
    end if;
    execute format('create table %I (like audit_events including constraints including indexes)', month_table);
    execute format(
        'with moved as (delete from audit_events_default where created_at >= %L and created_at < %L returning *)'
        ' insert into %I select * from moved',
        month_begin, month_end, month_table
    );
    execute format(
        'alter table audit_events attach partition %I for values from (%L) to (%L)', month_table, month_begin, month_end
    );
    return true;
end
$$;

-- Removes all events before the begin of a month: whole months at once. The chains' rows are to be locked before, and what
-- was removed noted there.
create function audit_drop_before(month_begin timestamptz) returns integer
    language plpgsql
    set timezone to 'UTC'
    set lock_timeout to '2s'
as $$
declare
    month_table regclass;
    dropped integer := 0;
begin
    for month_table in
        select c.oid::regclass
          from pg_inherits i
          join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'audit_events'::regclass
           and c.relname ~ '^audit_events_\d{4}_\d{2}$'
           and to_timestamp(right(c.relname, 7), 'YYYY_MM') < date_trunc('month', month_begin)
    loop
        execute format('drop table %s', month_table);
        dropped := dropped + 1;
    end loop;
    delete from audit_events_default where created_at < date_trunc('month', month_begin);
    return dropped;
end
$$;

-- migrate:down
