-- migrate:up

alter table users
    -- Second factors beside authenticators. An authenticator counts while it is active and totp_mfa holds; a phone number
    -- or an address while it is verified and its own column holds.
    add column totp_mfa boolean not null default true,
    add column sms_mfa boolean not null default false,
    add column email_mfa boolean not null default false,
    -- The one that is asked for; null: the user chooses at each sign-in, if there are several.
    add column preferred_mfa text check (preferred_mfa in ('TOTP', 'SMS', 'EMAIL')),
    -- Of the number in attributes.
    add column phone_verified_at timestamptz,
    -- What replaces address and number once their codes are given.
    add column pending_email text,
    add column pending_email_key text,
    add column pending_phone_number text,
    -- Keyed digest of the request_id of the sign-up, for a retry of it.
    add column sign_up_request bytea,
    -- Null: not since it was made.
    add column updated_at timestamptz;

create unique index users_sign_up_request on users (sign_up_request) where sign_up_request is not null;

alter table passwords
    -- The medium whose code set this password, until a distinct factor is proved beside it: a code over the same medium is
    -- no second factor.
    add column recovered_by text check (recovered_by in ('EMAIL', 'SMS')),
    -- A temporary password ends then.
    add column expires_at timestamptz;

-- Single use: the row goes with its use.
create table recovery_codes (
    digest bytea primary key,
    user_id uuid not null references users on delete cascade,
    created_at timestamptz not null
);

create index recovery_codes_user on recovery_codes (user_id);

alter table challenge_sessions
    -- The code that was sent for this step, and those that it replaced.
    add column code_digest bytea,
    add column superseded bytea[] not null default '{}',
    add column code_sent_at timestamptz,
    -- AEAD of what a custom challenge remembers, bound to digest.
    add column sealed_state bytea;

alter table codes
    -- What carried the code.
    add column medium text not null default 'EMAIL',
    drop constraint codes_purpose_check,
    add constraint codes_purpose_check
        check (purpose in ('SIGN_UP', 'RESET_PASSWORD', 'VERIFY_EMAIL', 'VERIFY_PHONE'));

-- migrate:down
