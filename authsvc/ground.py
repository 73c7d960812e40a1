"""What a process opens at its start and closes at its end."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.factors.custom_hook import ChallengeHook
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Hold what is opened at the start and closed at the end: everything else is made of it.

    `counters` is a pool of its own: counting must never wait for work to give a connection back. `hook` is None where
    sign-ins end without a challenge of the operator's own.
    """

    settings: Settings
    clock: Clock
    ring: KeyRing
    database: Database
    counters: Database
    hasher: PasswordHasher
    hook: ChallengeHook | None
    metrics: Metrics
