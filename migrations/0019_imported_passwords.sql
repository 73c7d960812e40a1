-- migrate:up

-- Which kinds of imported hashes there still are, asked now and then.
create index passwords_imported on passwords (user_id) where hash not like '$argon2id$v=19$%';

-- migrate:down
