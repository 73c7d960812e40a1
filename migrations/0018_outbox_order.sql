-- migrate:up

-- A message to nobody, for a name that does not exist: it waits, is claimed and rendered like any other, and goes where it
-- would be sent. A former release takes it for one that was dropped, as its own are.
alter table outbox
    add column is_decoy boolean not null default false,
    drop constraint outbox_check,
    add constraint outbox_wiped check (state = 'QUEUED' or sealed_parameters is null or is_decoy);

-- What waits, what ends first before the rest: codes before invitations before notices, which have no end.
create index outbox_waiting on outbox (medium, expires_at, not_before) where sealed_parameters is not null;
create index outbox_next on outbox (medium, not_before) where sealed_parameters is not null;

-- migrate:down
