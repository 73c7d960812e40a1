-- migrate:up

-- Mail on its way out, inserted in the transaction that needs it.
create table outbox (
    mail_id uuid primary key,
    kind text not null,
    -- AEAD of the parameters (address, code, names, locale), bound to mail_id; wiped once the mail has an end.
    sealed_parameters bytea,
    -- A later mail under the same key replaces this one.
    supersede_key text,
    state text not null check (state in ('QUEUED', 'SENT', 'DROPPED', 'DEAD')),
    created_at timestamptz not null,
    not_before timestamptz not null,
    -- Not sent after it: the code inside has expired.
    expires_at timestamptz,
    attempts smallint not null default 0,
    leased_until timestamptz,
    finished_at timestamptz,
    -- The last answer of the SMTP server, without addresses or parameters.
    last_error text,
    check (state = 'QUEUED' or sealed_parameters is null)
);

create index outbox_due on outbox (not_before) where state = 'QUEUED';
create index outbox_supersede on outbox (supersede_key) where state = 'QUEUED';
create index outbox_finished on outbox (finished_at) where state <> 'QUEUED';

-- migrate:down
