"""The signing keys of another process on a database, for tests that rotate them."""

from __future__ import annotations

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.audit.trail import Audit
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database


def signing_keys_of(database: Database, ring: KeyRing, settings: TokensSettings, clock: Clock) -> SigningKeys:
    """Return what a process has that starts now."""
    audit = Audit(database=database, ring=ring, clock=clock)
    return SigningKeys(database=database, ring=ring, audit=audit, settings=settings, clock=clock)
