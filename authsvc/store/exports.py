"""Whole accounts on their way elsewhere, in pages by id; each as it stands at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from authsvc.domain import DeviceId, UserId
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class StoredUser:
    """Hold a whole account; the authenticators' columns are lists of one length, oldest first."""

    user_id: UserId
    username: str
    status: str
    email: str | None
    email_verified_at: datetime | None
    attributes: dict[str, str]
    phone_verified_at: datetime | None
    created_at: datetime
    updated_at: datetime | None
    disabled_at: datetime | None
    totp_mfa: bool
    sms_mfa: bool
    email_mfa: bool
    preferred_mfa: str | None
    groups: list[str]
    hash: str | None = field(repr=False)
    password_expires_at: datetime | None
    recovered_by: str | None
    device_ids: list[DeviceId]
    friendly_names: list[str]
    sealed_secrets: list[bytes]
    devices_verified_at: list[datetime]


LIST_PAGE = """
select u.user_id, u.username, u.status, u.email, u.email_verified_at, u.attributes, u.phone_verified_at, u.created_at,
       u.updated_at, u.disabled_at, u.totp_mfa, u.sms_mfa, u.email_mfa, u.preferred_mfa,
       array(
           select m.group_name::text from group_members m where m.user_id = u.user_id order by m.group_name
       ) as groups,
       case when $3 then p.hash end as hash, p.expires_at as password_expires_at, p.recovered_by,
       d.device_ids, d.friendly_names, d.sealed_secrets, d.devices_verified_at
  from users u
  left join passwords p on p.user_id = u.user_id
  cross join lateral (
      select coalesce(array_agg(t.device_id order by t.verified_at, t.device_id), '{}') as device_ids,
             coalesce(array_agg(t.friendly_name order by t.verified_at, t.device_id), '{}') as friendly_names,
             coalesce(array_agg(t.sealed_secret order by t.verified_at, t.device_id), '{}') as sealed_secrets,
             coalesce(array_agg(t.verified_at order by t.verified_at, t.device_id), '{}') as devices_verified_at
        from totp_devices t
       where $3
         and t.user_id = u.user_id
         and t.verified_at is not null
  ) d
 where u.user_id > $1
 order by u.user_id
 limit $2
"""


async def list_page(executor: Executor, *, after: UUID, limit: int, with_secrets: bool) -> list[StoredUser]:
    """List accounts from behind `after` on; hashes and authenticators only if asked for."""
    return [StoredUser(**row) for row in await executor.fetch(LIST_PAGE, after, limit, with_secrets)]
