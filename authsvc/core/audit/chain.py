"""What the keyed digests of the audit trail are of: the one place that recording and verifying share."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime

from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import Event
from authsvc.store.audit import CHAINS, Chain, Head


def chain_of(subject: bytes) -> int:
    """Return the chain of all events of one subject, as likely as any other."""
    # Not the last bits of an id: ids that come from elsewhere may all end alike.
    return zlib.crc32(subject) % CHAINS


def event_digest(ring: KeyRing, previous: bytes, event: Event) -> bytes | None:
    """Return the digest that an event has after `previous`; None if its master key is not here."""
    return ring.digest_under(
        event.key_id,
        Purpose.AUDIT,
        previous.hex(),
        str(event.chain),
        str(event.sequence),
        _time(event.created_at),
        event.kind,
        event.result,
        event.reason,
        str(event.user_id or ""),
        event.actor,
        str(event.session_id or ""),
        event.request_id,
        json.dumps(event.details, sort_keys=True),
        event.personal_digest.hex(),
    )


def personal_digest(
    ring: KeyRing, key_id: str, *, username: str, client_ip: str, client_user_agent: str, salt: str
) -> bytes | None:
    """Return the digest of an event's personal data; None if its master key is not here."""
    return ring.digest_under(key_id, Purpose.AUDIT_PERSONAL, username, client_ip, client_user_agent, salt)


def head_parts(chain: int, sequence: int, digest: bytes, *, last_at: datetime) -> tuple[str, ...]:
    """Return what the seal of a chain's end is of."""
    return str(chain), str(sequence), digest.hex(), _time(last_at)


def is_sealed(ring: KeyRing, chain: int, end: Chain | Head) -> bool:
    """Tell whether a chain ends where recording left it, or has no events yet."""
    if (end.sequence, end.digest, end.seal) == (0, b"", None):
        return True
    return end.seal in ring.digests(
        Purpose.AUDIT_HEAD, *head_parts(chain, end.sequence, end.digest, last_at=end.last_at)
    )


def pruned_parts(chain: int, sequence: int, digest: bytes) -> tuple[str, ...]:
    """Return what the seal of a chain's removed part is of."""
    return str(chain), str(sequence), digest.hex()


def is_pruning_sealed(ring: KeyRing, chain: Chain) -> bool:
    """Tell whether a chain begins where pruning left it, or at its first event."""
    if (chain.pruned_sequence, chain.pruned_digest, chain.pruned_seal) == (0, b"", None):
        return True
    parts = pruned_parts(chain.chain, chain.pruned_sequence, chain.pruned_digest)
    return chain.pruned_seal in ring.digests(Purpose.AUDIT_PRUNED, *parts)


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
