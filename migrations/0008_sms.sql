-- migrate:up

-- What carries the message to its reader. A former release inserts mail alone.
alter table outbox
    add column medium text not null default 'EMAIL' check (medium in ('EMAIL', 'SMS'));

-- migrate:down
