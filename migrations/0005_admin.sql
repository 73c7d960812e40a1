-- migrate:up

-- What AdminService is opened with. The key itself is told once, and is nowhere.
create table admin_keys (
    name text primary key,
    -- HMAC of the key.
    digest bytea not null unique,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    -- Exact to an hour.
    last_used_at timestamptz,
    revoked_at timestamptz
);

create table groups (
    name text collate "C" primary key,
    description text not null,
    -- Lower ones come first in tokens; null: last.
    precedence integer,
    created_at timestamptz not null
);

create table group_members (
    group_name text collate "C" not null references groups on delete cascade,
    user_id uuid not null references users on delete cascade,
    created_at timestamptz not null,
    primary key (group_name, user_id)
);

create index group_members_user on group_members (user_id);

-- The orders and filters of ListUsers. Code points, so that a prefix is a range.
create index users_by_creation on users (created_at, user_id);
create index users_by_username on users (username_key collate "C");
create index users_by_email on users ((coalesce(email_key, '')) collate "C", user_id);
create index users_by_status on users (status, created_at, user_id) where status <> 'CONFIRMED';
create index users_disabled on users (created_at, user_id) where disabled_at is not null;
create index users_by_attributes on users using gin (attributes jsonb_path_ops);

-- ListMail.
create index outbox_by_creation on outbox (created_at, mail_id);

-- migrate:down
