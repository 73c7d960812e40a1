-- migrate:up

-- What a key opens. Keys made before open everything, and so do those that a former release makes beside this one.
alter table admin_keys
    add column scopes text[] not null default '{all}'
    constraint admin_keys_scopes_check check (
        cardinality(scopes) > 0 and scopes <@ array['read', 'support', 'users', 'secrets', 'all']
    );

-- migrate:down
