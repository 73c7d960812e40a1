"""How an import runs: batches in order, taken up again, beside accounts that exist, and recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.core.janitor import KEEP_IMPORTS, Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.v1.import_users_pb2 import ImportUsersRequest
from tests.admin.operator import Operator
from tests.admin.transfers import batch, import_rows, options, record, send, told, whole
from tests.clock import TICK
from tests.service import Service, fails

TABLES = ("users", "passwords", "totp_devices", "groups", "group_members", "imports", "import_problems", "audit_events")


async def counts(database: Database) -> dict[str, int]:
    """Count the rows of every table that an import writes."""
    return {table: await database.fetchval(f"select count(*) from {table}") for table in TABLES}  # noqa: S608  # fixed names


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_belongs_to_another_account_is_a_duplicate(
    service: Service, operator: Operator, database: Database, dry_run: bool
) -> None:
    """A row whose username, verified address or id is taken, by an account or an earlier row, changes nothing."""
    made = await service.confirmed("ada")
    before = await database.fetch("select * from users")
    rows = [
        record("ADA", attributes={"email": "other@example.com"}),
        record("grace", attributes={"email": "Ada@Example.com"}),
        record("linus", user_id=made.user_id),
        record("barbara"),
        record("Barbara", attributes={}, email_verified=False),
        record("ken", attributes={"email": "barbara@example.com"}),
        # Unverified, an address is nobody's.
        record("dennis", attributes={"email": "ada@example.com"}, email_verified=False),
        record("ada", user_id=made.user_id),
    ]
    done = await import_rows(operator, *rows, dry_run=dry_run)
    assert (done.imported, done.duplicates, done.refused) == (2, 6, 0)
    assert sorted(told(done.problems)) == [
        ('attributes["email"]', "EMAIL_EXISTS", [2, 6, 8]),
        ("user_id", "USER_ID_EXISTS", [3, 8]),
        ("username", "USERNAME_EXISTS", [1, 5, 8]),
    ]
    after = await database.fetch("select * from users where username_key = 'ada'")
    assert after == before


async def test_a_dry_run_changes_nothing_and_tells_what_an_import_would(operator: Operator, database: Database) -> None:
    """A dry run leaves every table as it is; the import after it reports the same."""
    before = await counts(database)
    rows = [whole("ada"), whole("grace", user_id=""), record("ada"), record("x y")]
    messages = batch(rows[:2]), batch(rows[2:], first_row=3)
    dry = await send(operator, options(dry_run=True, create_groups=True), *messages)
    assert await counts(database) == before
    assert dry == await send(operator, options(create_groups=True), *messages)
    assert (dry.imported, dry.duplicates, dry.refused, dry.next_row) == (2, 1, 1, 5)


async def test_a_broken_import_goes_on_where_it_stopped(operator: Operator, database: Database) -> None:
    """A call without batches tells the next row; batches before it change nothing; the report is of all calls."""
    first = batch([record("ada"), record("a b")])
    await send(operator, options(source="sha256:1"), first)
    stands = await send(operator, options(source="sha256:1"))
    assert (stands.next_row, stands.imported, stands.refused) == (3, 1, 1)
    overlapping = batch([record("other"), record("grace")], first_row=2)
    done = await send(operator, options(source="sha256:1"), first, overlapping)
    assert (done.next_row, done.imported, done.duplicates, done.refused) == (4, 2, 0, 1)
    assert told(done.problems) == [("username", "CHARACTERS", [2])]
    assert [row["username"] for row in await database.fetch("select username from users order by 1")] == [
        "ada",
        "grace",
    ]


@pytest.mark.parametrize(
    ("messages", "field", "rule"),
    [
        ([], "options", "REQUIRED"),
        ([batch([record()])], "part", "ORDER"),
        ([options(), options()], "part", "ORDER"),
        ([ImportUsersRequest()], "part", "ORDER"),
        ([options(""), batch([record()])], "options.import_id", "IMPORT_ID"),
        ([options("a b"), batch([record()])], "options.import_id", "IMPORT_ID"),
        ([options(source="\0")], "options.source", "SOURCE"),
        ([options(), batch([])], "batch.rows", "COUNT"),
        ([options(), batch([record()] * 1001)], "batch.rows", "COUNT"),
        ([options(), batch([record()], first_row=0)], "batch.first_row", "RANGE"),
        ([options(), batch([record()], first_row=2)], "batch.first_row", "GAP"),
    ],
)
async def test_messages_in_another_order_are_refused(
    operator: Operator, database: Database, messages: list[ImportUsersRequest], field: str, rule: str
) -> None:
    """Options come first and once, batches without a gap; else nothing is imported."""
    async with fails("INVALID_FIELDS") as failure:
        await send(operator, *messages)
    assert failure[0].violations == [(field, rule)]
    assert await database.fetchval("select count(*) from users") == 0


async def test_another_file_is_not_taken_for_the_same_import(operator: Operator) -> None:
    """An import goes on with the source that it began with alone."""
    await import_rows(operator, record(), source="sha256:1")
    async with fails("INVALID_FIELDS") as failure:
        await import_rows(operator, record("grace"), source="sha256:2")
    assert failure[0].violations == [("options.source", "OTHER_SOURCE")]


async def test_every_batch_is_recorded(operator: Operator, database: Database) -> None:
    """The audit trail tells who imported which rows, and how many became accounts."""
    await send(operator, options(), batch([record(), record("a b")]), batch([record("grace")], first_row=3))
    events = await database.fetch(
        "select actor, details from audit_events where kind = 'ADMIN_IMPORT_USERS' order by details ->> 'first_row'"
    )
    assert {event["actor"] for event in events} == {"operator:ops"}
    assert [event["details"] for event in events] == [
        {
            "import_id": "first",
            "first_row": first,
            "next_row": following,
            "imported": "1",
            "duplicates": "0",
            "refused": refused,
            "scope": "secrets",
        }
        for first, following, refused in (("1", "3", "1"), ("3", "4", "0"))
    ]


@pytest.mark.parametrize(("minutes", "imported"), [(-1, 0), (0, 1)])
async def test_name_of_an_expired_sign_up_is_free(
    service: Service, operator: Operator, minutes: int, imported: int
) -> None:
    """A name that an unconfirmed sign-up still keeps is taken, and free from the end of its reservation on."""
    await service.sign_up("ada")
    service.clock.advance(service.settings.codes.sign_up_ttl + timedelta(minutes=minutes))
    dry = await import_rows(operator, record(), dry_run=True)
    assert (dry.imported, dry.duplicates) == (imported, 1 - imported)
    done = await import_rows(operator, record())
    assert (done.imported, done.duplicates) == (imported, 1 - imported)


async def test_import_is_forgotten_a_month_after_its_last_batch(
    service: Service, operator: Operator, database: Database, ring: KeyRing
) -> None:
    """An import can be taken up again for thirty days; then it goes with its report, and its accounts stay."""
    await import_rows(operator, record(), record("a b"))
    janitor = Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)
    service.clock.advance(KEEP_IMPORTS - TICK)
    assert (await janitor.run_once())["imports"] == 0
    assert (await send(operator, options())).next_row == 3
    service.clock.advance(TICK)
    assert (await janitor.run_once())["imports"] == 1
    assert await database.fetchval("select count(*) from import_problems") == 0
    assert await database.fetchval("select count(*) from users") == 1
