"""ListUsers: filters, orders, and pages that stay right while accounts come, change and go."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from authsvc.crypto.tokens import new_id
from authsvc.domain import EmailKey, User, UserId, UsernameKey, UserStatus
from authsvc.store import users
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2 as auth
from authsvc.v1.user_order_pb2 import USER_ORDER_CREATED_AT, USER_ORDER_EMAIL, USER_ORDER_USERNAME, UserOrder
from tests.admin.operator import TEMPORARY, Operator
from tests.service import Service, fails

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [USER_ORDER_CREATED_AT, USER_ORDER_USERNAME, USER_ORDER_EMAIL]


async def insert(database: Database, name: str, *, minutes: int = 0, email: str | None = None) -> UUID:
    """Store an account, made some minutes after the begin."""
    user_id = new_id()
    assert await users.insert(
        database,
        user=User(
            user_id=UserId(user_id),
            username=name,
            username_key=UsernameKey(name.lower()),
            status=UserStatus.CONFIRMED,
            email=email,
            email_key=EmailKey(email.lower()) if email else None,
            created_at=BEGIN + timedelta(minutes=minutes),
        ),
    )
    return user_id


async def test_lists_are_in_order_page_by_page(operator: Operator, database: Database) -> None:
    """Every order, up and down, in pages of any size, tells every account once and in place."""
    rows = [
        ("Zoe", 3, None),
        ("ada", 1, "z@example.com"),
        ("Ｂob", 2, "b@example.com"),
        ("eve", 1, None),
        ("_x", 0, "B@example.com"),
    ]
    ids = {name: await insert(database, name, minutes=minutes, email=email) for name, minutes, email in rows}
    keys = {
        USER_ORDER_CREATED_AT: lambda row: (row[1], ids[row[0]]),
        USER_ORDER_USERNAME: lambda row: row[0].lower(),
        USER_ORDER_EMAIL: lambda row: ((row[2] or "").lower(), ids[row[0]]),
    }
    for order, key in keys.items():
        wanted = [row[0] for row in sorted(rows, key=key)]
        for page_size in (1, 2, 5, 100):
            assert await operator.all_names(order=order, page_size=page_size) == wanted
            down = await operator.all_names(order=order, page_size=page_size, descending=True)
            assert down == wanted[::-1], UserOrder.Name(order)
    assert await operator.all_names(page_size=2) == await operator.all_names(order=USER_ORDER_CREATED_AT)


@pytest.fixture
async def crowd(service: Service, operator: Operator) -> dict[str, str]:
    """Make accounts that differ; return their ids."""
    quiet = {"temporary_password": TEMPORARY, "suppress_invitation": True}
    made = [
        await operator.create("ada", attributes={"email": "ada@example.com", "locale": "en", "name": "A"}, **quiet),
        await operator.create("Adam", attributes={"email": "adam@example.org", "locale": "fr", "name": "A"}, **quiet),
        await operator.create("bob", attributes={}, **quiet),
    ]
    service.clock.advance(timedelta(days=1))
    made.append(await operator.create("eve", attributes={"email": "eve@example.com"}, **quiet))
    await operator.call("DisableUser", pb.DisableUserRequest(username="bob"))
    await operator.call("SetUserPassword", pb.SetUserPasswordRequest(username="eve", password=TEMPORARY))
    await operator.call("CreateGroup", pb.CreateGroupRequest(name="editors"))
    for name in ("ada", "bob"):
        await operator.call("AddUserToGroup", pb.AddUserToGroupRequest(username=name, group="editors"))
    return {user.username: user.user_id for user in made}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "ada Adam bob eve"),
        ({"username_prefix": "AD"}, "ada Adam"),
        ({"username_prefix": "adam"}, "Adam"),
        ({"username_prefix": "%"}, ""),
        ({"email": "ADA@example.com"}, "ada"),
        ({"email_prefix": "ada"}, "ada Adam"),
        ({"email_prefix": "ada@"}, "ada"),
        ({"status": auth.USER_STATUS_CONFIRMED}, "eve"),
        ({"status": auth.USER_STATUS_FORCE_CHANGE_PASSWORD}, "ada Adam bob"),
        ({"enabled": False}, "bob"),
        ({"enabled": True}, "ada Adam eve"),
        ({"group": "editors"}, "ada bob"),
        ({"group": "nobody"}, ""),
        ({"attributes": {"name": "A"}}, "ada Adam"),
        ({"attributes": {"name": "A", "locale": "fr"}}, "Adam"),
        ({"attributes": {"shoe_size": "9"}}, ""),
        ({"group": "editors", "enabled": True, "username_prefix": "a", "attributes": {"locale": "en"}}, "ada"),
    ],
    ids=str,
)
async def test_a_list_has_who_matches_every_filter(
    crowd: dict[str, str], operator: Operator, fields: dict[str, Any], wanted: str
) -> None:
    """Filters are exact but for letter case in names and addresses, and all of them hold."""
    assert await operator.all_names(order=USER_ORDER_USERNAME, page_size=1, **fields) == wanted.split()
    assert set(await operator.all_names(**fields)) == set(wanted.split())


async def test_lists_by_creation_begin_at_a_time_and_end_before_one(
    crowd: dict[str, str], service: Service, operator: Operator
) -> None:
    """created_from counts the moment itself, created_before does not."""
    now = service.clock.now()
    tick = timedelta(microseconds=1)
    assert await operator.all_names(created_from=now) == ["eve"]
    assert await operator.all_names(created_from=now + tick) == []
    assert set(await operator.all_names(created_before=now)) == {"ada", "Adam", "bob"}
    assert len(await operator.all_names(created_before=now + tick)) == 4


async def test_a_listed_user_is_the_user(crowd: dict[str, str], operator: Operator) -> None:
    """An entry of a list is what GetUser tells."""
    for user in (await operator.list()).users:
        assert user == await operator.get(user.username)
        assert crowd[user.username] == user.user_id


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"page_size": 101}, ("page_size", "RANGE")),
        ({"page_size": -1}, ("page_size", "RANGE")),
        ({"page_token": "x"}, ("page_token", "PAGE_TOKEN")),
        ({"page_token": "é" * 10}, ("page_token", "PAGE_TOKEN")),
        ({"page_token": "x" * 3_000}, ("page_token", "LENGTH")),
        ({"email": "nonsense"}, ("email", "EMAIL")),
        ({"group": "two words"}, ("group", "CHARACTERS")),
        ({"status": 77}, ("status", "UNKNOWN")),
        ({"order": 77}, ("order", "UNKNOWN")),
        ({"username_prefix": "x" * 129}, ("username_prefix", "LENGTH")),
        ({"username_prefix": "\0"}, ("username_prefix", "CHARACTERS")),
        ({"email_prefix": "\0"}, ("email_prefix", "CHARACTERS")),
        ({"attributes": {"email": "a@example.com"}}, ("attributes", "EMAIL")),
        ({"attributes": {f"name-{number}": "x" for number in range(11)}}, ("attributes", "COUNT")),
    ],
    ids=str,
)
async def test_what_is_no_filter_is_told(
    operator: Operator, fields: dict[str, Any], violation: tuple[str, str]
) -> None:
    """A filter that breaks a rule is refused by its name."""
    async with fails("INVALID_FIELDS") as failures:
        await operator.list(**fields)
    assert failures[0].violations == [violation]


async def test_a_page_token_is_of_its_list(crowd: dict[str, str], operator: Operator) -> None:
    """A token opens no list of other filters or another order; another page size is no other list."""
    token = (await operator.list(page_size=1)).next_page_token
    for fields in ({"enabled": True}, {"order": USER_ORDER_USERNAME}, {"descending": True}, {"username_prefix": "a"}):
        async with fails("INVALID_FIELDS"):
            await operator.list(page_token=token, **fields)
    assert len((await operator.list(page_token=token, page_size=100)).users) == len(crowd) - 1
    groups = pb.ListGroupsRequest(page_token=token)
    async with fails("INVALID_FIELDS"):
        await operator.call("ListGroups", groups)


async def test_the_longest_names_and_addresses_are_turned_over(operator: Operator, database: Database) -> None:
    """Pages end at names and addresses of full length in wide characters."""
    for letter in "あい":
        await insert(database, letter * 128, email=f"{letter * 64}@{'い' * 60}.{'い' * 60}.{'い' * 60}.example")
    for order in ORDERS:
        assert len(await operator.all_names(order=order, page_size=1)) == 2


@pytest.mark.parametrize("order", ORDERS, ids=UserOrder.Name)
@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
async def test_who_stays_is_told_once_whatever_else_happens(
    operator: Operator, database: Database, order: UserOrder.ValueType, descending: bool
) -> None:
    """While a writer adds, changes and deletes accounts, those it leaves alone are each told once, in order."""
    chance = random.Random(7)
    stay = [f"stay-{number:03}" for number in range(60)]
    come = [f"come-{number:03}" for number in range(120)]
    names = [*stay, *come[:60]]
    chance.shuffle(names)
    for number, name in enumerate(names):
        await insert(database, name, minutes=number % 40, email=f"{name[::-1]}@example.com" if number % 3 else None)
    stopped = asyncio.Event()

    async def write() -> None:
        there, waiting = come[:60], come[60:]
        while not stopped.is_set():
            name = chance.choice(there)
            match chance.randrange(3):
                case 0 if waiting:
                    new = waiting.pop()
                    there.append(new)
                    await insert(database, new, minutes=chance.randrange(40), email=f"{new}@example.org")
                case 1 if len(there) > 5:
                    there.remove(name)
                    waiting.append(name)
                    await database.execute("delete from users where username = $1", name)
                case _:
                    moved = f"{chance.randrange(99)}-{name}@example.net"
                    await database.execute(
                        "update users set email = $2, email_key = $2, updated_at = $3 where username = $1",
                        name, moved, BEGIN,
                    )  # fmt: skip
            # One change between any two pages at the least.
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        told = [
            [name for name in await operator.all_names(order=order, descending=descending, page_size=7) if name in stay]
            for _ in range(4)
        ]
        stopped.set()
    assert all(sorted(each) == stay for each in told)
    assert all(each == told[0] for each in told)
