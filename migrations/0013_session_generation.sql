-- migrate:up

-- How often the user of a session was proved again. Access tokens say of which generation they are: sensitive calls take
-- those of the present one alone. A server of the former release counts none and says none, which is taken for the first.
alter table sessions add column generation integer not null default 0;

-- migrate:down
