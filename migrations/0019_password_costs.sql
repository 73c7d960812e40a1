-- migrate:up

-- Kind and parameters of a password hash: all of it but salt and hash. bcrypt has the two in one.
create function password_cost(hash text) returns text
    language sql
    immutable
    strict
    parallel safe
as $$
select case when hash like '$2%' then left(hash, 6) else regexp_replace(hash, '\$[^$]*\$[^$]*$', '') end
$$;

-- Which costs are in use is asked every minute.
create index passwords_costs on passwords (password_cost(hash));

-- migrate:down
