"""Strangers who guess: they shut out strangers, and never the owner; and they never get more guesses than are told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.store.db import Database
from tests.abuse.conftest import TRUSTING
from tests.abuse.people import CAFE, HOME, LAIR, WRONG, Person, enrolled_at, outcome
from tests.clock import TICK
from tests.rpc.account_calls import add_authenticator, devices, remove_device
from tests.rpc.calls import NEW_PASSWORD, step_of, update, wrong_totp
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

CLOSED = """
insert into failures (username_key, factor, count, locked_until, updated_at) values ($1, $2, 100, $3, $3)
"""
DAY = timedelta(days=1)


async def close(service: Service, database: Database, factor: str = "PASSWORD", username: str = "ada") -> None:
    """Let strangers have closed a factor, which takes them a day of locks."""
    await database.execute(CLOSED, username, factor, service.clock.now())


async def test_stranger_closes_strangers_alone(door: Service, database: Database) -> None:
    """The owner signs in from a known device anywhere, and from a known network without it, whatever strangers did.

    NIST SP 800-63B-4 §3.2.2; OWASP ASVS 5 6.3.1.
    """
    account, owner = await enrolled_at(door, HOME)
    await close(door, database)
    stranger = Person(door, LAIR)
    assert "closed" in await stranger.is_shut_out()
    await Person(door, CAFE, device_token=owner.device_token).sign_in_fully(account)
    await Person(door, HOME).sign_in_fully(account)
    await update(door, account.tokens, PASSWORD)


async def test_owner_signs_in_for_as_long_as_strangers_go_on(door: Service) -> None:
    """Through a day of guesses as fast as locks allow, until all are used up, the owner's own sign-ins never wait.

    NIST SP 800-63B-4 §3.2.2.
    """
    account, owner = await enrolled_at(door, HOME)
    strangers = [Person(door, LAIR), Person(door, "203.0.113.67")]
    evaluated = 0
    for quarter in range(24 * 4 + 4):
        for stranger in strangers:
            evaluated += await outcome(stranger.sign_in(password=WRONG)) == "NOT_AUTHORIZED"
        door.clock.advance(timedelta(minutes=15))
        if quarter % 20 == 0:
            await owner.sign_in_fully(account)
    assert evaluated == 100
    assert "closed" in await strangers[0].is_shut_out()
    await owner.sign_in_fully(account)


async def test_known_lanes_have_the_same_limits(door: Service) -> None:
    """A known device is locked from its fifth wrong password on, by itself; each lane's success resets itself alone.

    NIST SP 800-63B-4 §3.2.2: no lane is without a limit.
    """
    _, owner = await enrolled_at(door, HOME)
    neighbour, stranger = Person(door, HOME), Person(door, LAIR)
    for _ in range(4):
        await neighbour.guess()
        await stranger.guess()
    for _ in range(5):
        await owner.guess()
    await owner.is_shut_out()
    # Right passwords elsewhere.
    await neighbour.sign_in()
    await stranger.sign_in()
    await owner.is_shut_out()
    for person in (neighbour, stranger):
        for _ in range(5):
            await person.guess()
        await person.is_shut_out()
    door.clock.advance(timedelta(seconds=1))
    await owner.sign_in()


async def test_token_of_another_account_is_a_strangers(door: Service, database: Database) -> None:
    """A device token says nothing of other accounts, nor does any other text; whoever shows one is a stranger.

    OWASP ASVS 5 6.3.8: no valid or invalid token tells an account.
    """
    _, ada = await enrolled_at(door, HOME)
    _, bob = await enrolled_at(door, CAFE, "bob")
    await close(door, database)
    for token in (bob.device_token, ada.device_token[:-1], ada.device_token + "A", "A" * 43, "\u00e4" * 9_000):
        assert "closed" in await Person(door, LAIR, device_token=token).is_shut_out()
    await close(door, database, username="nobody")
    assert "closed" in await Person(door, LAIR, device_token=ada.device_token).is_shut_out("nobody")


async def test_password_alone_opens_no_lane(door: Service, database: Database) -> None:
    """Who knows the password and no second factor guesses codes as a stranger, and closes them for strangers.

    NIST SP 800-63B-4 §3.2.2; OWASP ASVS 5 6.6.3.
    """
    account, owner = await enrolled_at(door, HOME)
    thief = Person(door, LAIR)
    for _ in range(5):
        started = await thief.sign_in()
        async with fails("CODE_MISMATCH"):
            await thief.answer(started.session, wrong_totp(door, account.secret))
    async with fails("LIMIT_EXCEEDED"):
        await thief.answer((await thief.sign_in()).session, wrong_totp(door, account.secret))
    await database.execute("update failures set count = 100 where factor = 'TOTP'")
    await owner.sign_in_fully(account)
    async with fails("LIMIT_EXCEEDED"):
        await thief.answer((await thief.sign_in()).session, door.totp(account.secret))


async def test_answers_count_where_the_sign_in_began(door: Service) -> None:
    """A session of a sign-in carries its lane: its answers are counted there, from wherever they come."""
    account, owner = await enrolled_at(door, HOME)
    door.next_totp_step()
    started = await owner.sign_in()
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await Person(door, LAIR).answer(started.session, wrong_totp(door, account.secret))
    stranger = Person(door, LAIR)
    first = await stranger.sign_in()
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await stranger.answer(first.session, wrong_totp(door, account.secret))
    assert step_of(await owner.answer(started.session, door.totp(account.secret))) == "DONE"


async def test_way_out_from_a_new_place(door: Service, database: Database) -> None:
    """While strangers go on guessing, the owner resets the password from anywhere, and then signs in from there.

    OWASP ASVS 5 6.4.3; NIST SP 800-63B-4 §4.2.
    """
    account, _ = await enrolled_at(door, HOME)
    await close(door, database)
    strangers = [Person(door, f"203.0.113.{number}") for number in range(1, 3)]
    owner = Person(door, CAFE)
    assert "closed" in await owner.is_shut_out()
    session, code = await owner.reset_by_mail(account)
    for stranger in strangers:
        for _ in range(5):
            await stranger.reset()
        for _ in range(7):
            assert await outcome(stranger.confirm_reset("00000000")) != "OK"
    await owner.confirm_reset(code, session=session)
    for stranger in strangers:
        for _ in range(5):
            await outcome(stranger.sign_in(password=WRONG))
    await strangers[0].is_shut_out(password=NEW_PASSWORD)
    await owner.sign_in_fully(account, NEW_PASSWORD)


async def test_recovered_password_brings_no_guesses_at_codes(door: Service, database: Database) -> None:
    """Who reads the mail sets passwords as often as they like, and guesses codes as the one stranger that they are.

    NIST SP 800-63B-4 §4.2: a recovery code by mail proves nothing beside it.
    """
    account, _ = await enrolled_at(door, HOME)
    reader = Person(door, CAFE)
    await close(door, database, "TOTP")
    for password in (NEW_PASSWORD, PASSWORD):
        session, code = await reader.reset_by_mail(account)
        await reader.confirm_reset(code, session=session, password=password)
        started = await reader.sign_in(password=password)
        async with fails("LIMIT_EXCEEDED"):
            await reader.answer(started.session, door.totp(account.secret))


async def test_lane_of_a_recovered_password_ends(door: Service, database: Database) -> None:
    """For an hour passwords from where one was recovered are counted apart; then who guesses there is a stranger."""
    account, _ = await enrolled_at(door, HOME)
    owner = Person(door, CAFE)
    session, code = await owner.reset_by_mail(account)
    await owner.confirm_reset(code, session=session)
    await close(door, database)
    door.clock.advance(timedelta(hours=1) - TICK)
    await owner.sign_in(password=NEW_PASSWORD)
    door.clock.advance(TICK)
    await owner.is_shut_out(password=NEW_PASSWORD)


@pytest.mark.parametrize(("keeps", "life"), [(True, 90 * DAY), (False, 30 * DAY)], ids=["device", "network"])
async def test_what_is_known_ends(door: Service, database: Database, keeps: bool, life: timedelta) -> None:
    """A device is known for 90 days after its last finished sign-in, a network for 30; to the tick."""
    _, owner = await enrolled_at(door, HOME)
    visitor = Person(door, HOME if not keeps else CAFE, device_token=owner.device_token if keeps else "", keeps=keeps)
    door.clock.advance(life - TICK)
    await close(door, database)
    await visitor.sign_in()
    door.clock.advance(TICK)
    assert "closed" in await visitor.is_shut_out()


async def test_lanes_are_bounded(door: Service, database: Database) -> None:
    """Of devices and networks ten each are kept, so that guesses in all are bounded; unused tokens are the first to go.

    NIST SP 800-63B-4 §3.2.2: 100 in a row a lane, and so many lanes.
    """
    account, owner = await enrolled_at(door, HOME)
    await Person(door, CAFE, device_token=owner.device_token).sign_in_fully(account)
    for number in range(12):
        await Person(door, f"198.51.100.{100 + number}", keeps=False).sign_in_fully(account)
    counts = await database.fetch("select kind, count(*) from known_lanes group by kind order by kind")
    assert [tuple(row) for row in counts] == [("DEVICE", 10), ("SOURCE", 10)]
    await close(door, database)
    # It was shown again, which none of the others was.
    await Person(door, LAIR, device_token=owner.device_token).sign_in()
    await Person(door, HOME).is_shut_out()


async def test_removed_authenticator_takes_its_failures_along(run: Run, database: Database) -> None:
    """A new authenticator begins from nothing, whatever was guessed at the last one that was removed."""
    async with run(server=TRUSTING, accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        tokens = (await Person(service, HOME).sign_in()).tokens
        await add_authenticator(service, tokens)
        await close(service, database, "TOTP")
        await remove_device(service, tokens, (await devices(service, tokens))[0].device_id)
        added = await add_authenticator(service, tokens)
        service.next_totp_step()
        stranger = Person(service, LAIR)
        started = await stranger.sign_in()
        assert step_of(await stranger.answer(started.session, service.totp(added))) == "DONE"
