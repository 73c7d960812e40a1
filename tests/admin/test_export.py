"""ExportUsers: what an import takes, all of it, once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from authsvc.config import Settings
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, MasterKey, Purpose
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.export_users_pb2 import ExportUsersRequest
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.user_record_pb2 import TotpRecord, UserRecord
from tests.admin.operator import Operator
from tests.admin.transfers import SECRET, batch, export, import_rows, options, record, send, stamp, whole
from tests.clock import NOON, FakeClock
from tests.races.conftest import new_database
from tests.service import Service, fails

COUNT = 2_000
HASHES = (
    "$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
    "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyBv$" + "A" * 43,
    "$scrypt$ln=14,r=8,p=1$c2FsdA$" + "A" * 43,
    "$pbkdf2-sha512$i=210000$c2FsdA$" + "A" * 86,
    f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw,sk={'A' * 86}$c2FsdA${'A' * 86}",
)


def anybody(number: int, chance: random.Random) -> UserRecord:
    """Make an account in which anything that a record can tell may be told, or not."""

    def maybe(value: object) -> object:
        return value if chance.random() < 0.5 else None

    made = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**14))
    attributes = {
        "email": maybe(f"User.{number}@example.com"),
        "name": maybe(f"Ünï {number}\u2028".strip()),
        "nickname": maybe(""),
        "phone_number": maybe(f"+4930123{number:05d}"),
        "locale": maybe("de-AT"),
        "address": maybe('{"street": "1, \\"Long\\" Road"}'),
    }
    told = {name: str(value) for name, value in attributes.items() if value is not None}
    record_ = UserRecord(
        username=f"User-{number}ß" if number % 7 == 0 else f"user_{number}",
        user_id=str(UUID(int=chance.getrandbits(128), version=4)),
        status=chance.choice([value for value in UserStatus.values() if value]),
        disabled=chance.random() < 0.1,
        attributes=told,
        email_verified="email" in told and chance.random() < 0.8,
        phone_number_verified="phone_number" in told and chance.random() < 0.5,
        created_at=stamp(made),
        sms_mfa=chance.random() < 0.2,
        email_mfa=chance.random() < 0.2,
        preferred_mfa=chance.choice(MfaType.values()),
        groups=sorted(chance.sample(["admins", "staff", "gäste", "Z"], chance.randrange(4))),
        totp_devices=[
            TotpRecord(
                secret="".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=chance.choice((26, 32, 52)))),
                friendly_name=f"App {device}",
                verified_at=stamp(made + timedelta(minutes=device)),
            )
            for device in range(chance.choice((0, 0, 1, 5)))
        ],
    )
    if chance.random() < 0.5:
        record_.updated_at.CopyFrom(stamp(made + timedelta(days=1)))
    if chance.random() < 0.2:
        record_.totp_mfa = False
    if chance.random() < 0.9:
        record_.password_hash = chance.choice(HASHES)
        record_.password_recovered_by = chance.choice(DeliveryMedium.values())
        if chance.random() < 0.2:
            record_.password_expires_at.CopyFrom(stamp(NOON + timedelta(days=3)))
    else:
        record_.status = UserStatus.USER_STATUS_RESET_REQUIRED
    return record_


@asynccontextmanager
async def elsewhere(
    postgres: EmbeddedPostgres, settings: Settings, clock: FakeClock, folder: Path
) -> AsyncIterator[Operator]:
    """Run a service with a database and a master key of its own, for its operator."""
    url = await new_database(postgres)
    key = MasterKey.generate()
    others = settings.model_copy(
        update={
            "database": settings.database.model_copy(update={"url": SecretStr(url)}),
            "keys": settings.keys.model_copy(update={"master": SecretStr(key.line())}),
        }
    )
    database = await Database.open(others.database, size=1)
    ring = KeyRing(keys=(key,))
    made = await AdminKeys(
        database=database, ring=ring, audit=Audit(database=database, ring=ring, clock=clock), clock=clock
    ).create("ops", timedelta(days=1), scopes=[AdminScope.ALL])
    await database.close()
    assert made is not None
    async with Service.run(others, clock, folder) as service:
        yield Operator(service.channel, made[0])


async def test_two_thousand_accounts_move_without_a_loss(
    operator: Operator, postgres: EmbeddedPostgres, settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    """Exported, imported into an empty service with another master key and exported again, accounts are the same."""
    chance = random.Random(2_000)
    accounts = [anybody(number, chance) for number in range(COUNT)]
    batches = [batch(accounts[first : first + 100], first + 1) for first in range(0, COUNT, 100)]
    done = await send(operator, options(create_groups=True), *batches)
    assert (done.imported, list(done.problems)) == (COUNT, [])
    exported = await export(operator)
    given = {account.user_id: account for account in accounts}
    assert all(user == given[user.user_id] for user in exported)
    assert [user.user_id for user in exported] == sorted(given)

    async with elsewhere(postgres, settings, clock, tmp_path) as other:
        messages = [batch(exported[first : first + 100], first + 1) for first in range(0, COUNT, 100)]
        done = await send(other, options(create_groups=True), *messages)
        assert (done.imported, list(done.problems)) == (COUNT, [])
        again = await export(other)
    assert [user.SerializeToString(deterministic=True) for user in again] == [
        user.SerializeToString(deterministic=True) for user in exported
    ]


async def test_secrets_are_told_only_when_asked_for(operator: Operator) -> None:
    """Without include_secrets an export has neither hashes nor authenticators."""
    await import_rows(operator, whole(password_hash=HASHES[0]), create_groups=True)
    (user,) = await export(operator, include_secrets=False)
    printed = str(user)
    assert HASHES[0] not in printed
    assert SECRET not in printed
    (with_secrets,) = await export(operator)
    assert with_secrets.password_hash == HASHES[0]
    assert with_secrets.totp_devices[0].secret == SECRET
    with_secrets.ClearField("password_hash")
    with_secrets.ClearField("totp_devices")
    assert user == with_secrets


async def test_broken_export_goes_on_behind_the_last_account(operator: Operator) -> None:
    """after_user_id begins behind an account, also one that has gone; what is no id is refused."""
    await import_rows(operator, *(record(f"user{number}") for number in range(5)))
    everybody = await export(operator)
    assert await export(operator, after_user_id=everybody[1].user_id) == everybody[2:]
    assert await export(operator, after_user_id=everybody[-1].user_id) == []
    assert len(await export(operator, after_user_id=str(UUID(int=0)))) == 5
    async with fails("INVALID_FIELDS") as failure:
        await export(operator, after_user_id="last")
    assert failure[0].violations == [("after_user_id", "UUID")]


async def test_export_is_recorded_before_anything_is_told(operator: Operator, database: Database) -> None:
    """The audit trail tells who asked for an export, and whether with secrets."""
    await import_rows(operator, record())
    request = ExportUsersRequest(include_secrets=True)
    async for response in operator.stub.ExportUsers(request, metadata=operator.metadata):
        assert response.users
        event = await database.fetchrow("select actor, details from audit_events where kind = 'ADMIN_EXPORT_USERS'")
        assert event is not None
        assert event["actor"] == "operator:ops"
        assert event["details"] == {"include_secrets": "true", "after_user_id": "", "scope": "secrets"}


async def test_accounts_of_any_size_fit_into_messages(operator: Operator) -> None:
    """Large accounts are told in messages that any client takes."""
    large = dict.fromkeys(("name", "given_name", "family_name", "middle_name", "nickname", "address"), "x" * 2000)
    for first in range(1, 401, 4):
        rows = [record(f"user{number}", attributes=large, email_verified=False) for number in range(first, first + 4)]
        await send(operator, options(), batch(rows, first))
    sizes = []
    async for response in operator.stub.ExportUsers(ExportUsersRequest(), metadata=operator.metadata):
        sizes.append(response.ByteSize())  # noqa: PERF401  # an asynchronous comprehension would be no shorter
    assert max(sizes) < 1.1 * 1024 * 1024
    assert len(sizes) > 4


@pytest.mark.usefixtures("service")
async def test_secret_of_another_master_key_ends_the_export(
    operator: Operator, database: Database, master_key: MasterKey
) -> None:
    """An authenticator that can't be opened is a fault, not an account without it."""
    await import_rows(operator, whole(password_hash=HASHES[0]), create_groups=True)
    foreign = KeyRing(keys=(MasterKey.generate(),)).seal(Purpose.TOTP_SECRET, b"x", bound_to="x")
    await database.execute("update totp_devices set sealed_secret = $1", foreign)
    async with fails("INTERNAL"):
        await export(operator)
