"""What the owner is told of, at every verified channel, and how seldom a stranger can have that done."""

from __future__ import annotations

from datetime import timedelta

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from tests.abuse.conftest import TRUSTING
from tests.abuse.people import CAFE, HOME, LAIR, WRONG, Person, enrolled_at, outcome
from tests.admin.operator import Operator
from tests.rpc.calls import settle, update
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service

NUMBER = "+4915112345678"
NEW, LOCKED = "Your account was signed in to from a new device", "Too many wrong passwords or codes at your account"


async def subjects(service: Service, database: Database) -> list[str]:
    """Return the subjects of all mails."""
    return [str(mail["Subject"]) for mail in await settle(service, database)]


async def test_sign_in_from_elsewhere_is_told(door: Service, database: Database) -> None:
    """A sign-in that neither device nor network vouches for is told by mail, once; the first of all is not.

    NIST SP 800-63B-4 §4.6; OWASP ASVS 5 6.3.5.
    """
    account, owner = await enrolled_at(door, HOME)
    await Person(door, HOME).sign_in_fully(account)
    await Person(door, CAFE, device_token=owner.device_token).sign_in_fully(account)
    assert NEW not in await subjects(door, database)
    thief = Person(door, LAIR)
    await thief.sign_in()
    assert NEW not in await subjects(door, database)
    await thief.sign_in_fully(account)
    assert (await subjects(door, database)).count(NEW) == 1
    await thief.sign_in_fully(account)
    assert (await subjects(door, database)).count(NEW) == 1
    # A year later nothing is known any more, and the next one is told all the same.
    door.clock.advance(timedelta(days=365))
    await owner.sign_in_fully(account)
    assert (await subjects(door, database)).count(NEW) == 2


async def test_long_lock_is_told_once(door: Service, database: Database) -> None:
    """The wrong password that first locks for the longest time is told by mail, and the one that closes; no others.

    OWASP ASVS 5 6.3.5. For a name that nobody has a message to nobody is stored.
    """
    await enrolled_at(door, HOME)
    stranger = Person(door, LAIR)
    for username in ("ada", "nobody"):
        for number in range(1, 18):
            assert await outcome(stranger.sign_in(username, WRONG)) == "NOT_AUTHORIZED"
            told = (await subjects(door, database)).count(LOCKED)
            assert told == (number >= 15 or username != "ada")
            door.clock.advance(timedelta(minutes=15))
    await database.execute("update failures set count = 99")
    for username in ("ada", "nobody"):
        assert await outcome(stranger.sign_in(username, WRONG)) == "NOT_AUTHORIZED"
    assert (await subjects(door, database)).count(LOCKED) == 2
    states = await database.fetch("select state from outbox where kind = 'ACCOUNT_LOCKED' order by state")
    assert [row["state"] for row in states] == ["DROPPED", "DROPPED", "SENT", "SENT"]


async def test_changes_are_told_at_every_verified_channel(run: Run, database: Database, key: str) -> None:
    """Notices go to the verified phone number beside the address; to one that is not verified nothing goes.

    NIST SP 800-63B-4 §4.6.
    """
    async with run(server=TRUSTING) as service:
        account, _ = await enrolled_at(service, HOME)
        former, texts, tokens = PASSWORD, list[str | None](), account.tokens
        for is_verified, new in ((False, "First-4-marmalade-skies"), (True, "Then-5-marmalade-skies")):
            request = admin.AdminServiceUpdateUserAttributesRequest(
                username="ada", attributes={"phone_number": NUMBER}, phone_number_verified=is_verified
            )
            await Operator(service.channel, key).call("UpdateUserAttributes", request)
            before = len(await settle(service, database))
            tokens = await update(service, tokens, former, new)
            arrived = {
                str(mail["Delivered-To"]): mail.as_string() for mail in (await settle(service, database))[before:]
            }
            assert arrived.keys() == {account.email, *([NUMBER] if is_verified else [])}
            former, texts = new, [*texts, arrived.get(NUMBER)]
        assert "Your password was changed. If it was not you, reset it now." in str(texts[1])
