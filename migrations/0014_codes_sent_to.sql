-- migrate:up

-- A keyed digest of the address or number that a code was sent to, by which wrong tries at unverified ones are counted. Null:
-- it was sent to nobody, or by a server of the former release, or it verifies no address.
alter table codes add column sent_to bytea;

-- migrate:down
