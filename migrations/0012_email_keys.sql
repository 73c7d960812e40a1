-- migrate:up

-- Addresses are told apart by lower case now, not by case folding, which makes ss of ß and so one of two domains. Other
-- addresses have the same key either way. Where the database's locale lowers ASCII letters only, an address with both ß and a
-- capital letter like Ü keeps that capital in its key until it is set anew.
update users
   set email_key = normalize(lower(email), NFKC)
 where email ~ '[ßẞς]';

update users
   set pending_email_key = normalize(lower(pending_email), NFKC)
 where pending_email ~ '[ßẞς]';

-- migrate:down
