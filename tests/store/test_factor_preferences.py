"""What users chose about kinds of factors; and the columns of the former release, which are kept the same."""

import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from textwrap import dedent
from uuid import UUID, uuid4

import pytest

from authsvc.clock import SystemClock
from authsvc.config import DatabaseSettings
from authsvc.domain import FactorKind, FactorState, Medium, User, UserId, UsernameKey, UserStatus
from authsvc.store import passwords, users
from authsvc.store.db import Database
from authsvc.store.factors import preferences
from authsvc.store.migrate import migrate, read_migrations
from authsvc.store.users import imported
from authsvc.store.users.rows import Password, WholeUser
from tests.clock import FakeClock
from tests.store.rows import insert_user
from tests.store.test_statements import modules, statements

TOTP, SMS, EMAIL = FactorKind.TOTP, FactorKind.SMS, FactorKind.EMAIL
VERSION = "0011"
# What columns a user of the former release can have.
COLUMNS = [
    (totp, sms, email, preferred)
    for totp, sms, email in product((True, False), repeat=3)
    for preferred in (None, "TOTP", "SMS", "EMAIL")
]
Columns = tuple[bool, bool, bool, str | None]

# Statements of the former release.
OLD_INSERT = """
insert into users (user_id, username, username_key, status, attributes, created_at, totp_mfa, sms_mfa, email_mfa,
                   preferred_mfa)
select r.user_id, r.name, r.name, 'CONFIRMED', '{}', now(), r.totp_mfa, r.sms_mfa, r.email_mfa, r.preferred_mfa
  from unnest($1::uuid[], $2::text[], $3::boolean[], $4::boolean[], $5::boolean[], $6::text[])
       as r (user_id, name, totp_mfa, sms_mfa, email_mfa, preferred_mfa)
"""
OLD_SET = "update users set totp_mfa = $2, sms_mfa = $3, email_mfa = $4, preferred_mfa = $5 where user_id = $1"
OLD_READ = "select totp_mfa, sms_mfa, email_mfa, preferred_mfa from users where user_id = $1"


async def old_insert(database: Database, columns: list[Columns]) -> list[UUID]:
    """Insert users in one statement, as the former release does; return their ids."""
    ids = [uuid4() for _ in columns]
    await database.execute(OLD_INSERT, ids, [str(user_id) for user_id in ids], *map(list, zip(*columns, strict=True)))
    return ids


async def new_read(database: Database, user_id: UUID) -> Columns:
    """Return what this release reads of a user, in the form of the columns."""
    state = await preferences.find(database, user_id=UserId(user_id))
    return TOTP not in state.disabled, SMS in state.enabled, EMAIL in state.enabled, state.preferred


async def old_read(database: Database, user_id: UUID) -> Columns:
    """Return what the former release reads of a user."""
    columns: Columns = tuple(await database.fetchrow(OLD_READ, user_id) or ())
    return columns


async def chosen(database: Database, user_id: UserId) -> tuple[set[FactorKind], set[FactorKind], FactorKind | None]:
    """Return what is enabled, disabled and preferred."""
    state = await preferences.find(database, user_id=user_id)
    return set(state.enabled), set(state.disabled), state.preferred


async def rows(database: Database) -> int:
    """Count what is stored."""
    return int(await database.fetchval("select count(*)::int from factor_preferences"))


@pytest.fixture
async def ada(database: Database, clock: FakeClock) -> UserId:
    """Insert an account."""
    return UserId(await insert_user(database, now=clock.now()))


async def test_an_account_that_chose_nothing_has_no_rows(database: Database, ada: UserId) -> None:
    """Of an account without choices, and of one that does not exist, the defaults of the kinds hold."""
    for user_id in (ada, UserId(uuid4())):
        assert await preferences.find(database, user_id=user_id) == FactorState()
    assert await rows(database) == 0


async def test_choices_replace_those_of_their_kinds_alone(database: Database, ada: UserId) -> None:
    """What is put about some kinds is found, what was put about others stays, and one kind at most is preferred."""
    await preferences.put(database, user_id=ada, choices={TOTP: False, SMS: True}, preferred=SMS)
    assert await chosen(database, ada) == ({SMS}, {TOTP}, SMS)
    await preferences.put(database, user_id=ada, choices={EMAIL: True, TOTP: True}, preferred=TOTP)
    assert await chosen(database, ada) == ({TOTP, SMS, EMAIL}, set(), TOTP)
    await preferences.put(database, user_id=ada, choices={SMS: False}, preferred=None)
    assert await chosen(database, ada) == ({TOTP, EMAIL}, {SMS}, None)


@pytest.mark.parametrize("preferred", [None, TOTP, SMS, EMAIL])
async def test_what_is_preferred_stays_preferred_without_a_choice_about_it(
    database: Database, ada: UserId, preferred: FactorKind | None
) -> None:
    """A preferred kind that has a row stays preferred when something is put about another one."""
    await preferences.put(database, user_id=ada, choices=dict.fromkeys((TOTP, SMS, EMAIL), True), preferred=preferred)
    await preferences.put(database, user_id=ada, choices={SMS: False}, preferred=preferred)
    assert await chosen(database, ada) == ({TOTP, EMAIL}, {SMS}, preferred)


async def test_enabling_forgetting_and_resetting(database: Database, ada: UserId) -> None:
    """A kind is enabled whatever was chosen, and preferred no more once what it was about is gone."""
    await preferences.put(database, user_id=ada, choices={SMS: False, EMAIL: True}, preferred=EMAIL)
    await preferences.enable(database, user_id=ada, kind=SMS)
    assert (await preferences.find(database, user_id=ada)).enabled == {SMS, EMAIL}
    await preferences.remove(database, user_id=ada, kind=EMAIL)
    assert await chosen(database, ada) == ({SMS}, set(), None)
    await preferences.reset(database, user_id=ada)
    assert await preferences.find(database, user_id=ada) == FactorState()


async def test_a_kind_of_a_later_release_is_passed_over(database: Database, ada: UserId) -> None:
    """A kind that this release does not know is left alone, and neither found nor preferred."""
    await database.execute("insert into factor_preferences values ($1, 'LATER', true, true)", ada)
    await passwords.put(database, user_id=ada, hash_="hash", now=FakeClock().now(), recovered_by=Medium.SMS)
    await preferences.enable(database, user_id=ada, kind=SMS)
    assert await preferences.find(database, user_id=ada) == FactorState(
        enabled=frozenset({SMS}), recovered_by=Medium.SMS
    )
    assert await old_read(database, ada) == (True, True, False, None)


@pytest.fixture
async def former(empty: DatabaseSettings) -> AsyncIterator[Database]:
    """Open a database with the schema of the former release."""
    database = await Database.open(empty, size=2)
    await migrate(database, [each for each in read_migrations() if each.version < VERSION], SystemClock())
    yield database
    await database.close()


async def test_what_was_chosen_before_the_migration_is_taken_over(former: Database) -> None:
    """Whatever a user's columns say, this release reads the same; rows are only where it differs from defaults."""
    ids = await old_insert(former, COLUMNS)
    await migrate(former, read_migrations(), SystemClock())
    assert [await new_read(former, user_id) for user_id in ids] == COLUMNS
    assert [await old_read(former, user_id) for user_id in ids] == COLUMNS
    expected = sum(
        len({*([] if totp else ["TOTP"]), *(["SMS"] * sms), *(["EMAIL"] * email), *([preferred] if preferred else [])})
        for totp, sms, email, preferred in COLUMNS
    )
    assert await rows(former) == expected


async def test_what_the_former_release_writes_is_read_by_this_one(database: Database) -> None:
    """Columns that are inserted, many at once, and changed, from anything to anything, are taken over at once."""
    ids = await old_insert(database, COLUMNS)
    assert [await new_read(database, user_id) for user_id in ids] == COLUMNS
    for user_id, columns in zip(ids, reversed(COLUMNS), strict=True):
        await database.execute(OLD_SET, user_id, *columns)
    assert [await new_read(database, user_id) for user_id in ids] == COLUMNS[::-1]
    assert [await old_read(database, user_id) for user_id in ids] == COLUMNS[::-1]
    await database.execute("update users set totp_mfa = true, sms_mfa = false, email_mfa = false, preferred_mfa = null")
    assert await rows(database) == 0


async def test_what_this_release_writes_is_read_by_the_former_one(database: Database) -> None:
    """Whatever is put, removed and reset, the columns say the same."""
    now = FakeClock().now()
    ids = [await insert_user(database, f"user{number}", now=now) for number in range(len(COLUMNS))]
    for columns in (COLUMNS, COLUMNS[::-1]):
        for user_id, (totp, sms, email, preferred) in zip(ids, columns, strict=True):
            await preferences.put(
                database,
                user_id=UserId(user_id),
                choices={TOTP: totp, SMS: sms, EMAIL: email},
                preferred=FactorKind(preferred) if preferred else None,
            )
        assert [await old_read(database, user_id) for user_id in ids] == columns
        assert [await new_read(database, user_id) for user_id in ids] == columns
    await preferences.put(database, user_id=UserId(ids[0]), choices={TOTP: False, SMS: True}, preferred=SMS)
    await preferences.remove(database, user_id=UserId(ids[0]), kind=SMS)
    assert (await old_read(database, ids[0]))[1:] == (False, COLUMNS[-1][2], None)
    await preferences.enable(database, user_id=UserId(ids[0]), kind=TOTP)
    assert (await old_read(database, ids[0]))[0]
    for user_id in ids:
        await preferences.reset(database, user_id=UserId(user_id))
    assert {await old_read(database, user_id) for user_id in ids} == {(True, False, False, None)}


async def test_accounts_that_are_imported_are_read_by_the_former_release(database: Database) -> None:
    """What comes with new accounts, many at once, is in the columns too."""
    now = FakeClock().now()
    whole = [
        WholeUser(
            user=User(
                user_id=UserId(uuid4()),
                username=f"user{number}",
                username_key=UsernameKey(f"user{number}"),
                status=UserStatus.CONFIRMED,
                created_at=now,
            ),
            factors={TOTP: totp, SMS: sms, EMAIL: email},
            preferred=FactorKind(preferred) if preferred else None,
            password=Password(None, None, None),
            devices=(),
            groups=(),
        )
        for number, (totp, sms, email, preferred) in enumerate(COLUMNS)
    ]
    async with database.transaction() as transaction:
        await imported.insert_many(transaction, users=whole, now=now)
        await imported.insert_belongings(transaction, users=whole, now=now)
    assert [await old_read(database, each.user.user_id) for each in whole] == COLUMNS
    assert [await new_read(database, each.user.user_id) for each in whole] == COLUMNS


async def test_preferences_go_with_their_account(database: Database) -> None:
    """Either release deletes an account with all that it chose."""
    ids = await old_insert(database, COLUMNS)
    assert await users.delete(database, user_id=UserId(ids[-1]))
    await database.execute("delete from users")
    assert await rows(database) == 0


async def test_nothing_of_this_release_needs_the_columns(database: Database, ada: UserId) -> None:
    """The step that drops them, as it is written down for the next release, leaves all statements that there are."""
    decision = (Path(__file__).parents[2] / "docs" / "decisions" / "0012-factor-preferences.md").read_text()
    (step,) = re.findall(r"```sql\n(.*?)```", decision, re.DOTALL)
    await database.execute(dedent(step))
    async with database.connection() as connection:
        for statement in (each for module in modules() for each in statements(module) if ";" not in each):
            await connection.prepare(statement)
    await preferences.put(database, user_id=ada, choices={SMS: True}, preferred=SMS)
    assert await chosen(database, ada) == ({SMS}, set(), SMS)
    assert await database.fetch("select from pg_proc where proname like '%factor_preferences%'") == []
    assert await database.fetch("select from pg_trigger where tgrelid = 'users'::regclass and not tgisinternal") == []
