"""Taking the personal data of deleted users out of their events, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.domain import UserId
from authsvc.store import erasures
from authsvc.store.db import Database, Executor

# As many as a call may take while it holds the chain of its user's events.
BATCH = 1_000


async def begin(executor: Executor, user_id: UserId) -> None:
    """Erase the first batch, in the transaction that deletes the user, and note what is left."""
    if last := await erasures.erase(executor, user_id=user_id, after=0, limit=BATCH):
        await erasures.note(executor, user_id=user_id, erased_until=last)


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasures:
    """Finish what was begun."""

    database: Database

    async def finish(self) -> int:
        """Erase what is noted, each batch in a transaction of its own; return how many batches it took."""
        batches = 0
        while await self._erase_batch():
            batches += 1
        return batches

    async def _erase_batch(self) -> bool:
        """Erase one batch of some user's; False if nothing is noted, or others are at all of it."""
        async with self.database.transaction() as transaction:
            found = await erasures.find_next(transaction)
            if found is None:
                return False
            last = await erasures.erase(transaction, user_id=found.user_id, after=found.erased_until, limit=BATCH)
            if last is None:
                await erasures.finish(transaction, user_id=found.user_id)
            else:
                await erasures.note(transaction, user_id=found.user_id, erased_until=last)
        return True
