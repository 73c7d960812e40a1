"""Sealing anew, under the first master key, of what would need an old one for as long as it lives."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from authsvc.core.totp import secret_binding
from authsvc.crypto.sealing import KeyRing, Purpose, UnsealError
from authsvc.store import sealed
from authsvc.store.db import Database
from authsvc.store.sealed import Left

BATCH = 500


@dataclass(frozen=True, slots=True)
class Resealed:
    """Count what was sealed anew and what could not be opened; tell what needs other keys afterwards."""

    secrets: int
    signing_keys: int
    unopened: int
    left: list[Left]


async def reseal(database: Database, ring: KeyRing) -> Resealed:
    """Seal TOTP secrets and signing keys anew.

    Safe beside running servers that know the first master key, and beside itself: a row is replaced only if it still
    holds what was read, and whatever is removed or made meanwhile is none of its business.
    """
    secrets = keys = unopened = 0
    after = UUID(int=0)
    while page := await sealed.list_secrets(database, after=after, marker=ring.marker, limit=BATCH):
        after = page[-1].device_id
        for row in page:
            binding = secret_binding(row.device_id, row.user_id)
            try:
                anew = ring.reseal(Purpose.TOTP_SECRET, row.sealed, bound_to=binding)
            except UnsealError:
                unopened += 1
                continue
            secrets += await sealed.replace_secret(database, device_id=row.device_id, former=row.sealed, sealed=anew)
    for key in await sealed.list_keys(database, marker=ring.marker):
        try:
            anew = ring.reseal(Purpose.SIGNING_KEY, key.sealed, bound_to=key.kid)
        except UnsealError:
            unopened += 1
            continue
        keys += await sealed.replace_key(database, kid=key.kid, former=key.sealed, sealed=anew)
    left = await sealed.list_left(database, marker=ring.marker, key_id=ring.keys[0].key_id)
    return Resealed(secrets, keys, unopened, left)
