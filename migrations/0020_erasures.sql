-- migrate:up

-- Users who are deleted and whose events still hold personal data: taken out in batches, up to the sequence on their chain.
create table erasures (
    user_id uuid primary key,
    erased_until bigint not null default 0
);

-- migrate:down
