-- migrate:up

-- An account. Its username is public; its e-mail address is not, and is unique only once verified.
create table users (
    user_id uuid primary key,
    username text not null,
    -- RFC 8265 UsernameCaseMapped: the identity.
    username_key text not null unique,
    status text not null check (status in ('UNCONFIRMED', 'CONFIRMED', 'FORCE_CHANGE_PASSWORD', 'RESET_REQUIRED')),
    email text,
    -- Case-folded address, for uniqueness.
    email_key text,
    email_verified_at timestamptz,
    -- Attributes other than e-mail.
    attributes jsonb not null default '{}',
    created_at timestamptz not null,
    -- Until then an unconfirmed account keeps its username; null once confirmed.
    reserved_until timestamptz,
    disabled_at timestamptz
);

create unique index users_verified_email on users (email_key) where email_verified_at is not null;
create index users_email on users (email_key);
create index users_unconfirmed on users (created_at) where status = 'UNCONFIRMED';

create table passwords (
    user_id uuid primary key references users on delete cascade,
    -- Argon2id, PHC string format.
    hash text not null,
    changed_at timestamptz not null
);

create table totp_devices (
    device_id uuid primary key,
    user_id uuid not null references users on delete cascade,
    friendly_name text not null,
    -- AEAD, bound to device_id and user_id.
    sealed_secret bytea not null,
    created_at timestamptz not null,
    -- Null: pending, removed at expires_at. Set: active.
    verified_at timestamptz,
    expires_at timestamptz,
    -- RFC 6238 time step of the last accepted code; no code at or before it is accepted.
    last_step bigint,
    last_used_at timestamptz,
    check (verified_at is null or last_step is not null)
);

create index totp_devices_user on totp_devices (user_id);
create index totp_devices_pending on totp_devices (expires_at) where verified_at is null;

-- Codes sent by mail. Keyed by name, not by account: a name that does not exist has codes like one that does.
create table codes (
    username_key text not null,
    purpose text not null check (purpose in ('SIGN_UP', 'RESET_PASSWORD')),
    digest bytea not null,
    -- Digests of the codes that this one replaced: they are answered as expired, not as wrong.
    superseded bytea[] not null default '{}',
    wrong smallint not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (username_key, purpose)
);

create index codes_expiry on codes (expires_at);

-- One step of a sign-in, or the verification of a new authenticator, waiting for its answer.
create table challenge_sessions (
    digest bytea primary key,
    user_id uuid not null references users on delete cascade,
    step text not null,
    -- Factors proved so far, RFC 8176 values.
    proved text[] not null,
    totp_device_id uuid references totp_devices on delete cascade,
    wrong smallint not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

create index challenge_sessions_user on challenge_sessions (user_id);
create index challenge_sessions_expiry on challenge_sessions (expires_at);

-- A finished sign-in: the family of its refresh tokens.
create table sessions (
    session_id uuid primary key,
    user_id uuid not null references users on delete cascade,
    origin_jti uuid not null,
    amr text[] not null,
    auth_time timestamptz not null,
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    client_ip text not null default '',
    client_user_agent text not null default ''
);

create index sessions_live on sessions (user_id, created_at desc, session_id desc) where revoked_at is null;
create index sessions_expiry on sessions (expires_at);

create table refresh_tokens (
    digest bytea primary key,
    session_id uuid not null references sessions on delete cascade,
    created_at timestamptz not null,
    used_at timestamptz,
    -- AEAD of the successor, bound to digest; kept while a retry may ask for it.
    sealed_successor bytea
);

create index refresh_tokens_session on refresh_tokens (session_id);
create index refresh_tokens_used on refresh_tokens (used_at) where sealed_successor is not null;

create table signing_keys (
    kid text primary key,
    algorithm text not null check (algorithm in ('EdDSA', 'ES256')),
    -- Public JSON Web Key.
    public_jwk jsonb not null,
    -- AEAD of the PKCS #8 private key, bound to kid.
    sealed_private bytea not null,
    created_at timestamptz not null,
    -- Published at once, used for signing from here on, until a later key becomes active.
    active_from timestamptz not null,
    -- Not published any more; null: no end set.
    expires_at timestamptz
);

-- migrate:down
