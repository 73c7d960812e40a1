"""Strangers who ask for resets, and guess at their codes: they use up their own, and burn nobody's."""

from __future__ import annotations

from datetime import timedelta

from authsvc.store.db import Database
from tests.abuse.people import CAFE, HOME, LAIR, Person, enrolled_at, outcome
from tests.clock import TICK
from tests.rpc.attribute_calls import confirm_attribute, set_attributes
from tests.rpc.calls import NEW_PASSWORD, recipients, settle, wrong
from tests.service import PASSWORD, Service, fails

HOUR = timedelta(hours=1)


async def test_flood_of_asking_uses_up_its_own(door: Service) -> None:
    """Thirty calls from one source leave every other source, and what is known to the account, their five an hour.

    OWASP ASVS 5 6.6.3; NIST SP 800-63B-4 §3.2.2.
    """
    _, owner = await enrolled_at(door, HOME)
    stranger, newcomer = Person(door, LAIR), Person(door, CAFE)
    outcomes = [await outcome(stranger.reset()) for _ in range(30)]
    assert outcomes == ["OK"] * 5 + ["LIMIT_EXCEEDED"] * 25
    for person in (newcomer, owner):
        assert [await outcome(person.reset()) for _ in range(6)] == ["OK"] * 5 + ["LIMIT_EXCEEDED"]
    door.clock.advance(HOUR - TICK)
    assert await outcome(stranger.reset()) == "LIMIT_EXCEEDED"
    door.clock.advance(TICK)
    assert await outcome(stranger.reset()) == "OK"


async def test_mails_to_one_account_are_bounded(door: Service, database: Database) -> None:
    """Strangers together have thirty codes sent to an account in an hour, one IPv6 /48 no more than ten of them."""
    account, owner = await enrolled_at(door, HOME)
    outcomes = [await outcome(Person(door, f"2001:db8:0:{number:x}::1").reset()) for number in range(20)]
    assert outcomes == ["OK"] * 10 + ["LIMIT_EXCEEDED"] * 10
    outcomes = [await outcome(Person(door, f"2001:db8:{number:x}::1").reset()) for number in range(1, 30)]
    assert outcomes == ["OK"] * 20 + ["LIMIT_EXCEEDED"] * 9
    sent = recipients(await settle(door, database)).count(account.email)
    assert await outcome(owner.reset()) == "OK"
    assert recipients(await settle(door, database)).count(account.email) == sent + 1


async def test_each_code_is_burnt_by_its_own_session(door: Service) -> None:
    """Wrong codes count against the session they are tried with; without one they burn no code of a session.

    OWASP ASVS 5 6.6.3.
    """
    account, _ = await enrolled_at(door, HOME)
    stranger, owner = Person(door, LAIR), Person(door, CAFE)
    session, code = await owner.reset_by_mail(account)
    theirs = (await stranger.reset()).session
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await stranger.confirm_reset(wrong(code), session=theirs)
    async with fails("CODE_EXPIRED"):
        await stranger.confirm_reset(wrong(code), session=theirs)
    for _ in range(10):
        assert await outcome(stranger.confirm_reset(wrong(code))) in ("CODE_MISMATCH", "LIMIT_EXCEEDED")
    # Four of its own wrong ones leave it alive.
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await owner.confirm_reset(wrong(code), session=session)
    await owner.confirm_reset(code, session=session)
    async with fails("CODE_EXPIRED"):
        await owner.confirm_reset(code, session=session)


async def test_known_places_need_no_session(door: Service) -> None:
    """A caller that keeps no session is served from a known network, whatever strangers ask for and burn."""
    account, owner = await enrolled_at(door, HOME)
    stranger = Person(door, LAIR)
    _, code = await owner.reset_by_mail(account)
    await stranger.reset()
    for _ in range(7):
        await outcome(stranger.confirm_reset(wrong(code)))
    await owner.confirm_reset(code)
    # One that was asked for at home is right elsewhere too.
    _, code = await owner.reset_by_mail(account)
    await Person(door, CAFE).confirm_reset(code, password=PASSWORD)


async def test_session_is_of_its_name_and_ends(door: Service) -> None:
    """A session serves no other name and no other code, not after ten minutes, and not after another reset was done."""
    account, owner = await enrolled_at(door, HOME)
    await enrolled_at(door, CAFE, "bob")
    session, code = await owner.reset_by_mail(account)
    other, other_code = await owner.reset_by_mail(account)
    for username, handle in (("bob", session), ("ada", "A" * 43)):
        async with fails("CODE_EXPIRED"):
            await owner.confirm_reset(code, session=handle, username=username)
    async with fails("CODE_MISMATCH"):
        await owner.confirm_reset(other_code, session=session)
    await owner.confirm_reset(code, session=session)
    async with fails("CODE_EXPIRED"):
        await owner.confirm_reset(other_code, session=other)
    session, code = await owner.reset_by_mail(account)
    door.clock.advance(timedelta(minutes=10))
    async with fails("CODE_EXPIRED"):
        await owner.confirm_reset(code, session=session)


async def test_refused_password_leaves_the_session_its_tries(door: Service) -> None:
    """However often the policy refuses a new password, the code can still be used with its session."""
    account, owner = await enrolled_at(door, HOME)
    session, code = await owner.reset_by_mail(account)
    for _ in range(7):
        async with fails("INVALID_PASSWORD"):
            await owner.confirm_reset(code, session=session, password="xx-ada-example-77-yy")
    await owner.confirm_reset(code, session=session)


async def test_unknown_names_have_sessions_too(door: Service) -> None:
    """Sessions of a name that does not exist are answered, and burnt, like those of one that does.

    OWASP ASVS 5 6.3.8.
    """
    await enrolled_at(door, HOME)
    stranger = Person(door, LAIR)
    seen = []
    for username in ("ada", "nobody"):
        session = (await stranger.reset(username)).session
        tries = [stranger.confirm_reset("00000000", session=session, username=username) for _ in range(6)]
        seen.append([await outcome(each) for each in tries])
    assert seen[0] == seen[1] == ["CODE_MISMATCH"] * 5 + ["CODE_EXPIRED"]


async def test_change_of_the_address_ends_sessions(door: Service, database: Database) -> None:
    """A code that is on its way to an address is over when the account has another, with its session too."""
    account, owner = await enrolled_at(door, HOME)
    session, code = await owner.reset_by_mail(account)
    before = door.catcher.last_number()
    await set_attributes(door, account.tokens, email="new@example.com")
    await confirm_attribute(door, account.tokens, "email", await door.code("new@example.com", after=before))
    async with fails("CODE_EXPIRED"):
        await owner.confirm_reset(code, session=session, password=NEW_PASSWORD)
    assert await database.fetchval("select count(*) from reset_sessions") == 0
