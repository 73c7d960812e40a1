-- migrate:up

-- What an answer to a step of a sign-in led to, for as long as the same call may be sent again because its reply was lost.
create table sign_in_replies (
    -- Keyed digest of the session's handle, the call's request id, the answer and the caller.
    digest bytea primary key,
    user_id uuid not null references users on delete cascade,
    -- AEAD, bound to digest.
    sealed_reply bytea not null,
    expires_at timestamptz not null
);

create index sign_in_replies_user on sign_in_replies (user_id);
create index sign_in_replies_expiry on sign_in_replies (expires_at);

-- migrate:down
