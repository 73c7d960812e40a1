"""How long refusals of passwords take: as long as the dearest hash in use, so that none tells what hash a name has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.errors import DatabaseUnavailable
from authsvc.store import passwords
from authsvc.store.db import Database

INTERVAL = timedelta(minutes=1)
RETRY = timedelta(seconds=1)
# Imports choose costs; a file with another one in each row would have each measured.
MOST_COSTS = 100

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusalTimes:
    """Keep the hasher in the picture of what hashes cost; `on_time` is told how long refusals take."""

    database: Database
    hasher: PasswordHasher
    clock: Clock
    on_time: Callable[[timedelta], None]

    async def run(self) -> None:
        """Look at the costs in use every minute until cancelled."""
        while True:
            pause = INTERVAL
            try:
                costs = await passwords.list_costs(self.database, limit=MOST_COSTS)
                self.on_time(await self.hasher.learn(costs))
            except DatabaseUnavailable:
                pause = RETRY
            except Exception as error:  # nobody would start it again
                _log.error("password_costs_unknown", exc_info=error)
            await self.clock.sleep(pause)
