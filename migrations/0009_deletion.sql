-- migrate:up

-- Whose mail it is: with the account it goes. Not a foreign key, whose check would wait for the lock of another user's row.
alter table outbox add column user_id uuid;

create index outbox_user on outbox (user_id) where user_id is not null;

-- Sent mail under a name's keys goes with the account too.
create index outbox_keys on outbox (supersede_key) where supersede_key is not null;

-- migrate:down
