-- migrate:up

-- Where an account's user has been before: failures from there are counted apart from those of strangers. Each row is one
-- of an account's devices, a network from which it finished a sign-in, or one from which its password was recovered. The
-- digest is of the account's name too, so that the same network is another row for another account.
create table known_lanes (
    digest bytea primary key,
    user_id uuid not null references users on delete cascade,
    kind text not null check (kind in ('DEVICE', 'SOURCE', 'RECOVERED')),
    -- Of a device: whether its token was ever shown. Tokens that nobody keeps are the first to go.
    is_shown boolean not null default false,
    last_used_at timestamptz not null,
    expires_at timestamptz not null
);

create index known_lanes_user on known_lanes (user_id);
create index known_lanes_expiry on known_lanes (expires_at);

-- Where the sign-in was begun, so that its answers are counted there; empty: by a stranger. In `failures` the lane stands
-- after the factor, with a space between; for strangers nothing does, so servers of the former release count as strangers.
alter table challenge_sessions add column lane text not null default '';

-- Codes that known devices and networks ask for stand apart from those of strangers.
alter table codes
    drop constraint codes_purpose_check,
    add constraint codes_purpose_check
        check (purpose in ('SIGN_UP', 'RESET_PASSWORD', 'RESET_PASSWORD_KNOWN', 'VERIFY_EMAIL', 'VERIFY_PHONE'));

-- One asked-for reset of a password: its own code, and its own count of wrong tries. It ends with the row of its name in
-- `codes`, which has the latest of them for those who give no session.
create table reset_sessions (
    digest bytea primary key,
    username_key text not null,
    purpose text not null,
    code_digest bytea not null,
    medium text not null,
    lane text not null,
    wrong smallint not null default 0,
    expires_at timestamptz not null,
    foreign key (username_key, purpose) references codes on delete cascade
);

create index reset_sessions_code on reset_sessions (username_key, purpose);
create index reset_sessions_expiry on reset_sessions (expires_at);

-- migrate:down
