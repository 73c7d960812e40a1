"""Accounts: names and addresses that belong to one account, passwords that change under one's hands."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.domain import EmailKey, User, UserId, UsernameKey, UserStatus
from authsvc.store import passwords, users
from authsvc.store.db import Database, Executor
from tests.clock import TICK, FakeClock
from tests.store.rows import DAY, insert_user

HOUR = timedelta(hours=1)


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


async def try_name(executor: Executor, at: datetime) -> UUID | None:
    """Try to sign "ada" up anew; return the id of the account if the name was free."""
    user_id = uuid4()
    inserted = await users.insert(
        executor,
        user=User(
            user_id=UserId(user_id),
            username="ADA",
            username_key=UsernameKey("ada"),
            status=UserStatus.UNCONFIRMED,
            attributes={"name": "Ada"},
            created_at=at,
            reserved_until=at + HOUR,
        ),
    )
    return user_id if inserted else None


async def test_reserved_name_is_free_from_the_end_of_its_reservation(database: Database, now: datetime) -> None:
    """An unconfirmed account keeps its name until `reserved_until`; from then on a new sign-up replaces it."""
    first = await insert_user(database, now=now, status="UNCONFIRMED", reserved_until=now + HOUR)
    assert await try_name(database, now + HOUR - TICK) is None
    assert await users.find_by_id(database, user_id=UserId(first)) is not None
    second = await try_name(database, now + HOUR)
    found = await users.find(database, username_key=UsernameKey("ada"))
    assert found is not None
    assert (found.user_id, found.username, found.attributes) == (second, "ADA", {"name": "Ada"})
    assert await users.find_by_id(database, user_id=UserId(first)) is None


@pytest.mark.parametrize("status", ["CONFIRMED", "RESET_REQUIRED", "FORCE_CHANGE_PASSWORD"])
async def test_name_of_a_confirmed_account_is_never_released(database: Database, now: datetime, status: str) -> None:
    """Only unconfirmed accounts lose their names, whatever the reservation says."""
    await insert_user(database, now=now, status=status, reserved_until=now)
    assert await try_name(database, now + 1000 * DAY) is None


async def test_one_of_many_sign_ups_at_once_gets_the_name(database: Database, now: datetime) -> None:
    """Ten inserts of one name at once make one account, also when a released name is among the prey."""
    await insert_user(database, now=now, status="UNCONFIRMED", reserved_until=now)

    async def sign_up() -> UUID | None:
        async with database.transaction() as transaction:
            return await try_name(transaction, now)

    made = [user_id for user_id in await asyncio.gather(*(sign_up() for _ in range(10))) if user_id]
    found = await users.find(database, username_key=UsernameKey("ada"))
    assert found is not None
    assert made == [found.user_id]


async def test_reservation_is_prolonged_for_unconfirmed_accounts_alone(database: Database, now: datetime) -> None:
    """A new code prolongs the reservation of an unconfirmed account and gives a confirmed one none."""
    for name, status in (("ada", "UNCONFIRMED"), ("bob", "CONFIRMED")):
        await insert_user(database, name, now=now, status=status)
        await users.reserve_username(database, username_key=UsernameKey(name), until=now + HOUR, at_most=2 * HOUR)
    ada, bob = [await users.find(database, username_key=UsernameKey(name)) for name in ("ada", "bob")]
    assert ada is not None
    assert bob is not None
    assert (ada.reserved_until, bob.reserved_until) == (now + HOUR, None)
    await users.reserve_username(database, username_key=UsernameKey("ada"), until=now + 5 * HOUR, at_most=2 * HOUR)
    ada = await users.find(database, username_key=UsernameKey("ada"))
    assert ada is not None
    assert ada.reserved_until == now + 2 * HOUR


async def test_confirming_makes_the_address_the_accounts_own(database: Database, now: datetime) -> None:
    """Confirmation sets the status and the time, ends the reservation, and happens once."""
    user_id = await insert_user(
        database, now=now, status="UNCONFIRMED", email="a@example.com", reserved_until=now + HOUR
    )
    assert await users.find_email_owner(database, email_key=EmailKey("a@example.com")) is None
    assert await users.confirm(database, username_key=UsernameKey("ada"), now=now + TICK) == user_id
    owner = await users.find_email_owner(database, email_key=EmailKey("a@example.com"))
    assert owner is not None
    assert owner.user_id == user_id
    assert (owner.status, owner.email_verified_at, owner.reserved_until) == ("CONFIRMED", now + TICK, None)
    assert await users.confirm(database, username_key=UsernameKey("ada"), now=now) is None


async def test_an_address_belongs_to_who_confirms_it_first(database: Database, now: datetime) -> None:
    """Several unconfirmed accounts can have one address; the first to confirm has it, the others can't any more."""
    for name in ("ada", "bob"):
        await insert_user(database, name, now=now, status="UNCONFIRMED", email="a@example.com")
    assert await users.confirm(database, username_key=UsernameKey("bob"), now=now) is not None
    assert await users.confirm(database, username_key=UsernameKey("ada"), now=now) is None
    ada = await users.find(database, username_key=UsernameKey("ada"))
    assert ada is not None
    assert (ada.status, ada.email_verified_at) == ("UNCONFIRMED", None)


async def test_two_confirmations_of_one_address_at_once_make_one_owner(database: Database, now: datetime) -> None:
    """A confirmation that meets an uncommitted one waits for it, and is refused when that commits."""
    for name in ("ada", "bob"):
        await insert_user(database, name, now=now, status="UNCONFIRMED", email="a@example.com")
    async with database.transaction() as late:
        async with database.transaction() as early:
            assert await users.confirm(early, username_key=UsernameKey("ada"), now=now) is not None
            waiting = asyncio.ensure_future(users.confirm(late, username_key=UsernameKey("bob"), now=now))
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
        assert await waiting is None
    owner = await users.find_email_owner(database, email_key=EmailKey("a@example.com"))
    assert owner is not None
    assert owner.username_key == "ada"


async def test_nobody_owns_no_address(database: Database, now: datetime) -> None:
    """An account without an address is not the owner of "no address"."""
    await insert_user(database, now=now)
    assert await users.find_email_owner(database, email_key=None) is None


async def test_rehash_leaves_a_password_alone_that_was_changed_meanwhile(database: Database, now: datetime) -> None:
    """A rehash replaces the hash that was verified, and no other."""
    user_id = await insert_user(database, now=now)
    await passwords.put(database, user_id=UserId(user_id), hash_="old", now=now)
    await passwords.rehash(database, user_id=UserId(user_id), verified="old", hash_="rehashed")
    assert await passwords.has_hash(database, user_id=UserId(user_id), hash_="rehashed", now=now)
    await passwords.put(database, user_id=UserId(user_id), hash_="new", now=now)
    await passwords.rehash(database, user_id=UserId(user_id), verified="rehashed", hash_="too late")
    credential = await passwords.find(database, username_key=UsernameKey("ada"))
    assert credential == passwords.Credential(UserId(user_id), "new", None)
    assert not await passwords.has_hash(database, user_id=UserId(user_id), hash_="rehashed", now=now)


async def test_only_a_required_reset_is_finished_by_a_reset(database: Database, now: datetime) -> None:
    """A reset confirms an account whose reset was asked for, and changes no other status."""
    statuses = {"ada": "RESET_REQUIRED", "bob": "UNCONFIRMED", "cy": "FORCE_CHANGE_PASSWORD"}
    after = {}
    for name, status in statuses.items():
        user_id = await insert_user(database, name, now=now, status=status)
        await users.finish_reset(database, user_id=UserId(user_id))
        found = await users.find_by_id(database, user_id=UserId(user_id))
        assert found is not None
        after[name] = found.status
    assert after == {**statuses, "ada": "CONFIRMED"}


async def test_lock_makes_changes_of_one_account_happen_in_a_row(database: Database, now: datetime) -> None:
    """A second transaction gets the row only when the first has ended, and sees what that one did."""
    user_id = await insert_user(database, now=now, status="RESET_REQUIRED")
    async with database.transaction() as second:
        async with database.transaction() as first:
            await users.lock(first, user_id=UserId(user_id))
            waiting = asyncio.ensure_future(users.lock(second, user_id=UserId(user_id)))
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
            await users.finish_reset(first, user_id=UserId(user_id))
        seen = await waiting
    assert seen is not None
    assert seen.status == "CONFIRMED"


async def test_purge_takes_old_unconfirmed_accounts_without_a_live_code(database: Database, now: datetime) -> None:
    """An account is purged from its age on, unless it is confirmed or its code can still be used."""
    old, until = now - 7 * DAY, now - TICK
    await insert_user(database, "due", now=old, status="UNCONFIRMED", reserved_until=now)
    await insert_user(database, "young", now=old + TICK, status="UNCONFIRMED", reserved_until=until)
    await insert_user(database, "reserved", now=old, status="UNCONFIRMED", reserved_until=now + TICK)
    await insert_user(database, "confirmed", now=old, status="CONFIRMED", reserved_until=until)
    assert await users.purge_unconfirmed(database, created_before=old, now=now, limit=10) == 1
    left = {row["username_key"] for row in await database.fetch("select username_key from users")}
    assert left == {"young", "reserved", "confirmed"}


async def test_purge_takes_no_more_than_its_limit_and_waits_for_nobody(database: Database, now: datetime) -> None:
    """A batch has at most `limit` accounts and passes by those that a transaction holds."""
    ids = [
        await insert_user(database, f"u{number}", now=now - DAY, status="UNCONFIRMED", reserved_until=now)
        for number in range(4)
    ]

    async def purge() -> int:
        return await users.purge_unconfirmed(database, created_before=now, now=now, limit=2)

    async with database.transaction() as transaction:
        await users.lock(transaction, user_id=UserId(ids[0]))
        assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await purge() == 1
