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


def personal_of(event: Event) -> tuple[str | None, ...]:
    """Return an event's personal data, each None once it was erased."""
    return event.username, event.client_ip, event.client_user_agent, event.personal_salt


def personal_digest(ring: KeyRing, event: Event) -> bytes | None:
    """Return the digest of an event's personal data, which is all there; None if its master key is not here."""
    return ring.digest_under(event.key_id, Purpose.AUDIT_PERSONAL, *(part or "" for part in personal_of(event)))


def end_parts(chain: int, end: Chain | Head | Event) -> tuple[Purpose, str, str, str, str]:
    """Return what the seal of a chain's end is of."""
    last_at = end.created_at if isinstance(end, Event) else end.last_at
    return Purpose.AUDIT_HEAD, str(chain), str(end.sequence), end.digest.hex(), _time(last_at)


def is_sealed(ring: KeyRing, chain: int, end: Chain | Head) -> bool:
    """Tell whether a chain ends where recording left it, or has no events yet."""
    return (end.sequence, end.digest, end.seal) == (0, b"", None) or end.seal in ring.digests(*end_parts(chain, end))


def pruned_parts(chain: int, sequence: int, digest: bytes) -> tuple[Purpose, str, str, str]:
    """Return what the seal of a chain's removed part is of: up to which event."""
    return Purpose.AUDIT_PRUNED, str(chain), str(sequence), digest.hex()


def is_pruning_sealed(ring: KeyRing, chain: Chain) -> bool:
    """Tell whether a chain begins where pruning left it, or at its first event."""
    sequence, digest, seal = chain.pruned_sequence, chain.pruned_digest, chain.pruned_seal
    return (sequence, digest, seal) == (0, b"", None) or seal in ring.digests(
        *pruned_parts(chain.chain, sequence, digest)
    )


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
