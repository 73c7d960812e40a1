-- migrate:up

-- What users chose about kinds of factors. A kind without a row has its default: an authenticator counts, an address and
-- a number do not. So an account has a row where it differs, or where it prefers.
create table factor_preferences (
    user_id uuid not null references users on delete cascade,
    kind text not null,
    enabled boolean not null,
    -- The one that is asked for; without one the user chooses at each sign-in, if there are several.
    preferred boolean not null default false,
    primary key (user_id, kind)
);

create unique index factor_preferences_preferred on factor_preferences (user_id) where preferred;

-- Servers of the former release read and write columns of users, those of this one the table alone. Until the former are
-- gone each is kept as the other, by triggers that don't answer each other: what a trigger writes is at depth 2.
create function factor_preferences_from_users() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() > 1 then
        return null;
    end if;
    delete from factor_preferences
     where user_id = new.user_id
       and kind in ('TOTP', 'SMS', 'EMAIL');
    insert into factor_preferences (user_id, kind, enabled, preferred)
    select new.user_id, c.kind, c.enabled, c.kind is not distinct from new.preferred_mfa
      from (values ('TOTP', new.totp_mfa, true), ('SMS', new.sms_mfa, false), ('EMAIL', new.email_mfa, false))
           as c (kind, enabled, by_default)
     where c.enabled <> c.by_default
        or c.kind = new.preferred_mfa;
    return null;
end
$$;

create function users_from_factor_preferences() returns trigger language plpgsql as $$
declare
    changed constant uuid := coalesce(new.user_id, old.user_id);
begin
    if pg_trigger_depth() > 1 then
        return null;
    end if;
    update users u
       set totp_mfa = c.totp, sms_mfa = c.sms, email_mfa = c.email, preferred_mfa = c.preferred
      from (
          select coalesce(bool_or(enabled) filter (where kind = 'TOTP'), true) as totp,
                 coalesce(bool_or(enabled) filter (where kind = 'SMS'), false) as sms,
                 coalesce(bool_or(enabled) filter (where kind = 'EMAIL'), false) as email,
                 max(kind) filter (where preferred and kind in ('TOTP', 'SMS', 'EMAIL')) as preferred
            from factor_preferences
           where user_id = changed
      ) c
     where u.user_id = changed
       and (u.totp_mfa, u.sms_mfa, u.email_mfa, u.preferred_mfa)
           is distinct from (c.totp, c.sms, c.email, c.preferred);
    return null;
end
$$;

-- Holds writers of users up until the commit: nothing is written between what is read below and the triggers.
create trigger users_factors_inserted after insert on users for each row
    when (not new.totp_mfa or new.sms_mfa or new.email_mfa or new.preferred_mfa is not null)
    execute function factor_preferences_from_users();

create trigger users_factors_updated after update of totp_mfa, sms_mfa, email_mfa, preferred_mfa on users for each row
    when (
        (old.totp_mfa, old.sms_mfa, old.email_mfa, old.preferred_mfa)
        is distinct from (new.totp_mfa, new.sms_mfa, new.email_mfa, new.preferred_mfa)
    )
    execute function factor_preferences_from_users();

insert into factor_preferences (user_id, kind, enabled, preferred)
select u.user_id, c.kind, c.enabled, c.kind is not distinct from u.preferred_mfa
  from users u
 cross join lateral (
     values ('TOTP', u.totp_mfa, true), ('SMS', u.sms_mfa, false), ('EMAIL', u.email_mfa, false)
 ) as c (kind, enabled, by_default)
 where c.enabled <> c.by_default
    or c.kind = u.preferred_mfa;

create trigger factor_preferences_changed after insert or update or delete on factor_preferences for each row
    execute function users_from_factor_preferences();

-- migrate:down
