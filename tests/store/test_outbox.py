"""What the outbox promises the flows that fill it and the workers that empty it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from authsvc.clock import Clock
from authsvc.domain import MailId, MailState, Medium
from authsvc.store import ended, outbox
from authsvc.store.db import Database, Executor
from authsvc.store.ended import Ended
from authsvc.store.outbox import ClaimedMail, NewMail
from tests.clock import TICK

LEASE = timedelta(minutes=2)
SEALED = b"sealed"


@dataclass
class Queue:
    """Fill and empty the outbox at times of the test's choosing; `now` is when the test begins."""

    database: Database
    now: datetime

    async def insert(
        self,
        *,
        kind: str = "MFA_CHANGED",
        medium: Medium = Medium.EMAIL,
        sealed: bytes | None = SEALED,
        key: str | None = None,
        at: timedelta = timedelta(),
        expires: timedelta | None = None,
        executor: Executor | None = None,
    ) -> UUID:
        """Insert a mail and return its id."""
        mail_id = uuid4()
        await outbox.insert(
            executor or self.database,
            mail=NewMail(
                mail_id=MailId(mail_id),
                kind=kind,
                medium=medium,
                sealed_parameters=sealed,
                supersede_key=key,
                expires_at=None if expires is None else self.now + expires,
            ),
            now=self.now + at,
        )
        return mail_id

    async def claim(
        self, at: timedelta = timedelta(), limit: int = 100, medium: Medium = Medium.EMAIL
    ) -> list[ClaimedMail]:
        """Claim what is due, for the time of a lease."""
        now = self.now + at
        return await outbox.claim(self.database, medium=medium, now=now, leased_until=now + LEASE, limit=limit)

    async def is_wanted(self, mail: ClaimedMail, at: timedelta = timedelta(), until: timedelta = timedelta()) -> bool:
        """Ask whether a mail may be sent, and is ours until then."""
        return await outbox.is_wanted(
            self.database,
            mail_id=mail.mail_id,
            attempts=mail.attempts,
            now=self.now + at,
            leased_until=self.now + until,
        )

    async def finish(self, mail: ClaimedMail, state: MailState = MailState.SENT, error: str | None = None) -> bool:
        """End a mail."""
        return await outbox.finish(
            self.database, mail_id=mail.mail_id, attempts=mail.attempts, state=state, last_error=error, now=self.now
        )

    async def retry(self, mail: ClaimedMail, not_before: timedelta) -> bool:
        """Give a mail back until then."""
        return await outbox.retry(
            self.database,
            mail_id=mail.mail_id,
            attempts=mail.attempts,
            not_before=self.now + not_before,
            last_error="content refused: 451",
        )

    async def row(self, mail_id: UUID) -> Any:
        """Return the stored row."""
        return await self.database.fetchrow("select * from outbox where mail_id = $1", mail_id)


@pytest.fixture
def queue(database: Database, clock: Clock) -> Queue:
    """Return an empty queue."""
    return Queue(database, clock.now())


async def test_mail_is_due_when_its_transaction_commits(queue: Queue) -> None:
    """A mail can be claimed as soon as its transaction commits, not before."""
    async with queue.database.transaction() as transaction:
        mail_id = await queue.insert(expires=LEASE, executor=transaction)
        assert await queue.claim() == []
    (mail,) = await queue.claim()
    assert mail == ClaimedMail(
        mail_id=MailId(mail_id),
        kind="MFA_CHANGED",
        medium=Medium.EMAIL,
        sealed_parameters=SEALED,
        attempts=1,
        created_at=queue.now,
        expires_at=queue.now + LEASE,
        leased_until=queue.now + LEASE,
    )


async def test_mail_of_a_rolled_back_transaction_never_was(queue: Queue) -> None:
    """What a transaction enqueued goes with it when it fails."""
    with suppress(ZeroDivisionError):
        async with queue.database.transaction() as transaction:
            await queue.insert(executor=transaction)
            raise ZeroDivisionError
    assert await queue.claim() == []


async def test_mail_without_parameters_is_never_sent(queue: Queue) -> None:
    """A mail owed to a name that doesn't exist is stored with its end."""
    mail_id = await queue.insert(sealed=None, key="name")
    assert await queue.claim() == []
    row = await queue.row(mail_id)
    assert (row["state"], row["finished_at"]) == ("DROPPED", queue.now)


async def test_claim_takes_the_longest_due_up_to_its_limit(queue: Queue) -> None:
    """Mails are claimed in the order in which they fell due."""
    late, early, middle = [await queue.insert(at=timedelta(seconds=-age)) for age in (1, 3, 2)]
    assert {mail.mail_id for mail in await queue.claim(limit=2)} == {early, middle}
    assert [mail.mail_id for mail in await queue.claim(limit=2)] == [late]


async def test_workers_at_once_share_the_mails(queue: Queue) -> None:
    """Twenty claims at the same time get each of fifty mails once."""
    mail_ids = [await queue.insert() for _ in range(50)]
    claims = await asyncio.gather(*(queue.claim(limit=4) for _ in range(20)))
    assert all(len(mails) <= 4 for mails in claims)
    claimed = [mail.mail_id for mails in claims for mail in mails]
    assert len(claimed) == len(set(claimed))
    claimed += [mail.mail_id for mail in await queue.claim()]
    assert sorted(claimed) == sorted(mail_ids)


async def test_lease_keeps_others_away_until_it_ends(queue: Queue) -> None:
    """A leased mail is nobody else's until the tick at which the lease ends."""
    await queue.insert()
    (first,) = await queue.claim()
    assert await queue.claim(LEASE - TICK) == []
    (second,) = await queue.claim(LEASE)
    assert (first.attempts, second.attempts) == (1, 2)


async def test_worker_that_lost_its_lease_has_no_say(queue: Queue) -> None:
    """What a worker notes after another one claimed the mail changes nothing."""
    await queue.insert()
    (first,) = await queue.claim()
    (second,) = await queue.claim(LEASE)
    before = await queue.row(first.mail_id)
    assert not await queue.finish(first)
    assert not await queue.retry(first, timedelta(hours=1))
    assert not await queue.is_wanted(first, LEASE)
    assert await queue.row(first.mail_id) == before
    assert await queue.is_wanted(second, LEASE)
    assert await queue.finish(second)


async def test_worker_that_is_late_may_note_while_nobody_took_over(queue: Queue) -> None:
    """A lease that is over still counts for noting, so that a sent mail isn't sent again."""
    await queue.insert(at=-2 * LEASE)
    (mail,) = await queue.claim(-2 * LEASE)
    assert await queue.finish(mail)
    assert await queue.claim() == []


@pytest.mark.parametrize("state", [MailState.SENT, MailState.DEAD, MailState.DROPPED])
async def test_end_wipes_the_parameters(queue: Queue, state: MailState) -> None:
    """A mail that has its end keeps neither address nor code, and has only one end."""
    mail_id = await queue.insert()
    (mail,) = await queue.claim()
    assert await queue.finish(mail, state, "recipient refused: 550")
    row = await queue.row(mail_id)
    assert (row["state"], row["sealed_parameters"], row["leased_until"]) == (state, None, None)
    assert (row["last_error"], row["finished_at"]) == ("recipient refused: 550", queue.now)
    assert not await queue.finish(mail)
    assert await queue.claim(LEASE) == []


async def test_retried_mail_waits_for_its_time(queue: Queue) -> None:
    """A mail given back is due again at the tick it was put off to, with its parameters."""
    mail_id = await queue.insert()
    (mail,) = await queue.claim()
    pause = timedelta(seconds=5)
    assert await queue.retry(mail, pause)
    assert (await queue.row(mail_id))["last_error"] == "content refused: 451"
    assert await queue.claim(pause - TICK) == []
    (again,) = await queue.claim(pause)
    assert (again.attempts, again.sealed_parameters) == (2, SEALED)


async def test_media_are_claimed_apart(queue: Queue) -> None:
    """A worker gets mails of the medium that it asks for, and nothing of the other."""
    mail_id, sms_id = await queue.insert(), await queue.insert(medium=Medium.SMS)
    for medium, claimed_id in ((Medium.SMS, sms_id), (Medium.EMAIL, mail_id)):
        (claimed,) = await queue.claim(medium=medium)
        assert (claimed.mail_id, claimed.medium) == (claimed_id, medium)


async def test_expired_mail_is_never_claimed(queue: Queue) -> None:
    """A mail can be claimed until the tick before it expires; from then on it is dead, and wiped."""
    expiry = timedelta(minutes=10)
    mail_id = await queue.insert(expires=expiry)
    (mail,) = await queue.claim(expiry - TICK - LEASE)
    assert await outbox.expire(queue.database, now=queue.now + expiry - TICK, limit=10) == []
    (mail,) = await queue.claim(expiry - TICK)
    assert await queue.retry(mail, expiry)
    assert await queue.claim(expiry) == []
    (expired,) = await outbox.expire(queue.database, now=queue.now + expiry, limit=10)
    assert expired == outbox.ExpiredMail(MailId(mail_id), "MFA_CHANGED", Medium.EMAIL, 2)
    row = await queue.row(mail_id)
    assert (row["state"], row["sealed_parameters"]) == ("DEAD", None)
    assert row["last_error"] == "expired after content refused: 451"


async def test_mail_on_the_wire_is_not_declared_expired(queue: Queue) -> None:
    """An expired mail is left to the worker that holds it, as long as the lease lasts."""
    mail_id = await queue.insert(expires=TICK)
    (mail,) = await queue.claim()
    assert await outbox.expire(queue.database, now=queue.now + LEASE - TICK, limit=10) == []
    (expired,) = await outbox.expire(queue.database, now=queue.now + LEASE, limit=10)
    assert (expired.mail_id, (await queue.row(mail_id))["last_error"]) == (mail.mail_id, "expired")


async def test_expiry_ends_no_more_than_its_limit(queue: Queue) -> None:
    """Expired mails are ended in batches, and mails without an expiry never."""
    for _ in range(3):
        await queue.insert(expires=timedelta())
    await queue.insert()
    batches = [len(await outbox.expire(queue.database, now=queue.now, limit=2)) for _ in range(3)]
    assert batches == [2, 1, 0]


async def test_later_mail_replaces_those_that_wait(queue: Queue) -> None:
    """Superseding drops and wipes what waits under the key, claimed or not, and nothing else."""
    sent = await queue.insert(key="reset ada")
    (mail,) = await queue.claim()
    await queue.finish(mail)
    claimed = await queue.insert(key="reset ada")
    await queue.claim()
    waiting, other, keyless = [await queue.insert(key=key) for key in ("reset ada", "reset bob", None)]
    count = await outbox.supersede(queue.database, supersede_key="reset ada", now=queue.now)
    assert count == 2
    rows = [await queue.row(mail_id) for mail_id in (sent, claimed, waiting, other, keyless)]
    assert [row["state"] for row in rows] == ["SENT", "DROPPED", "DROPPED", "QUEUED", "QUEUED"]
    assert [row["sealed_parameters"] for row in rows] == [None, None, None, SEALED, SEALED]


async def test_superseded_mail_is_not_wanted_any_more(queue: Queue) -> None:
    """A worker that holds a mail learns, when it asks, that a later one replaced it."""
    await queue.insert(key="reset ada")
    (mail,) = await queue.claim()
    assert await queue.is_wanted(mail)
    await outbox.supersede(queue.database, supersede_key="reset ada", now=queue.now)
    assert not await queue.is_wanted(mail)
    assert not await queue.finish(mail)


async def test_mail_is_wanted_until_it_expires(queue: Queue) -> None:
    """A worker that holds a mail may send it until the tick before it expires."""
    await queue.insert(expires=timedelta(seconds=10))
    (mail,) = await queue.claim()
    assert await queue.is_wanted(mail, timedelta(seconds=10) - TICK)
    assert not await queue.is_wanted(mail, timedelta(seconds=10))


async def test_mail_is_wanted_only_with_enough_of_the_lease_left(queue: Queue) -> None:
    """A worker must hold a mail beyond the time that it says it needs."""
    await queue.insert()
    (mail,) = await queue.claim()
    assert await queue.is_wanted(mail, until=LEASE - TICK)
    assert not await queue.is_wanted(mail, until=LEASE)


async def test_oldest_due_mail_is_found(queue: Queue) -> None:
    """The age of the queue is that of the mail due longest; what is put off or has its end doesn't count."""
    assert await outbox.find_oldest_due(queue.database, medium=Medium.EMAIL, now=queue.now) is None
    await queue.insert(at=TICK)
    assert await outbox.find_oldest_due(queue.database, medium=Medium.EMAIL, now=queue.now) is None
    await queue.insert(at=timedelta(seconds=-7))
    await queue.insert(at=timedelta(seconds=-9), sealed=None)
    await queue.insert(at=timedelta(seconds=-8), medium=Medium.SMS)
    assert await outbox.find_oldest_due(queue.database, medium=Medium.EMAIL, now=queue.now) == queue.now - timedelta(
        seconds=7
    )


async def test_purge_removes_only_what_ended_before(queue: Queue) -> None:
    """Ended mails go in batches once they are old enough; waiting ones never."""
    old = [await queue.insert(sealed=None, at=-TICK) for _ in range(3)]
    new = await queue.insert(sealed=None)
    waiting = await queue.insert(at=-TICK)
    counts = [await ended.purge(queue.database, what=Ended.OUTBOX, before=queue.now, limit=2) for _ in range(3)]
    assert counts == [2, 1, 0]
    left = {row["mail_id"] for row in await queue.database.fetch("select mail_id from outbox")}
    assert left == {new, waiting}
    assert left.isdisjoint(old)
