"""Sealing anew, under the first master key, of what would need an old one for as long as it lives."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from authsvc.core.audit.chain import end_parts, is_pruning_sealed, is_sealed, pruned_parts
from authsvc.core.factors.totp import secret_binding
from authsvc.crypto.sealing import KeyRing, Purpose, UnsealError
from authsvc.store import audit, sealed
from authsvc.store.audit import CHAINS
from authsvc.store.db import Database
from authsvc.store.sealed import Left

BATCH = 500


@dataclass(frozen=True, slots=True)
class Resealed:
    """Count what was sealed anew and what could not be opened; tell what needs other keys afterwards."""

    secrets: int
    signing_keys: int
    audit_chains: int
    unopened: int
    left: list[Left]


async def reseal(database: Database, ring: KeyRing) -> Resealed:
    """Seal TOTP secrets, signing keys and the ends of the audit trail's chains anew.

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
    for kid, former in (await sealed.list_keys(database, marker=ring.marker)).items():
        try:
            anew = ring.reseal(Purpose.SIGNING_KEY, former, bound_to=kid)
        except UnsealError:
            unopened += 1
            continue
        keys += await sealed.replace_key(database, kid=kid, former=former, sealed=anew)
    chains = sum([await _reseal_chain(database, ring, number) for number in range(CHAINS)])
    left = await sealed.list_left(database, marker=ring.marker, key_id=ring.keys[0].key_id)
    return Resealed(secrets=secrets, signing_keys=keys, audit_chains=chains, unopened=unopened, left=left)


async def _reseal_chain(database: Database, ring: KeyRing, number: int) -> bool:
    """Seal the notes where a chain begins and ends anew; nothing else does where no event comes any more.

    A seal that does not hold stays as it is: that is for `authsvc audit verify` to tell.
    """
    chain = await audit.find_chain(database, chain=number)
    if chain is None or not is_sealed(ring, number, chain) or not is_pruning_sealed(ring, chain):
        return False
    end = ring.digest(*end_parts(number, chain))
    begin = ring.digest(*pruned_parts(number, chain.pruned_sequence, chain.pruned_digest))
    return await audit.replace_seals(
        database, chain=chain, seal=chain.seal and end, pruned_seal=chain.pruned_seal and begin
    )
