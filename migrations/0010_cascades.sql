-- migrate:up

-- What refers to a row that is deleted is looked for by these, for each row: else in the whole table.
create index sessions_user on sessions (user_id);
create index challenge_sessions_device on challenge_sessions (totp_device_id) where totp_device_id is not null;

-- migrate:down
