"""ImportUsers: accounts of elsewhere sign in here, and nothing that exists is changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import bcrypt
import pytest

from authsvc.config import AttributeType, CustomAttribute
from authsvc.core.operators.identity import AdminKeys
from authsvc.domain import AdminScope
from authsvc.rpc.transfer import from_proto
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.import_users_pb2 import ImportRow, UnreadableRow
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_TOTP
from authsvc.v1.user_record_pb2 import TotpRecord, UserRecord
from tests.admin.operator import Operator
from tests.admin.transfers import MADE, SECRET, batch, export, import_rows, options, record, send, stamp, told, whole
from tests.clock import NOON
from tests.rpc.calls import NEW_PASSWORD, confirm_reset, reset, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

HASH = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


async def test_user_signs_in_as_before(service: Service, operator: Operator) -> None:
    """An imported user signs in with the old password and the old authenticator, and keeps id and groups."""
    row = whole(password_hash=HASH)
    done = await import_rows(operator, row, create_groups=True)
    assert (done.next_row, done.imported, done.duplicates, done.refused) == (2, 1, 0, 0)
    started = await service.sign_in("ada")
    assert step_of(started) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    request = pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(SECRET))
    finished = await service.stub.ConfirmSignIn(request)
    assert finished.is_signed_in
    user = await operator.get("ada")
    assert user.user_id == row.user_id
    assert list(user.groups) == ["admins", "staff"]
    assert user.created_at == stamp(MADE)


async def test_user_without_a_hash_is_asked_for_a_reset_where_names_may_be_told(run: Run, key: str) -> None:
    """Where the settings tell which names exist, any password of an account without a hash leads to RESET_PASSWORD."""
    async with run(accounts={"prevent_user_existence_errors": False}) as service:
        await import_rows(Operator(service.channel, key), record(status=UserStatus.USER_STATUS_CONFIRMED))
        for password in (PASSWORD, "whatever it may have been"):
            assert step_of(await service.sign_in("ada", password=password)) == "RESET_PASSWORD"


async def test_user_without_a_hash_sets_a_new_password(service: Service, operator: Operator) -> None:
    """Without a hash any password is wrong, as of a name that nobody has; a reset gives the account a password."""
    await import_rows(operator, record(status=UserStatus.USER_STATUS_CONFIRMED))
    for username in ("ada", "nobody"):
        for reason in [*["NOT_AUTHORIZED"] * 5, "LIMIT_EXCEEDED"]:
            async with fails(reason):
                await service.sign_in(username)
    await reset(service, "ada")
    await confirm_reset(service, "ada", await service.code("ada@example.com"))
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_a_temporary_password_ends_when_it_did_elsewhere(service: Service, operator: Operator) -> None:
    """An imported temporary password has to be changed, and is wrong from its end on."""
    row = record(
        status=UserStatus.USER_STATUS_FORCE_CHANGE_PASSWORD,
        password_hash=HASH,
        password_expires_at=stamp(service.clock.now() + timedelta(hours=1)),
    )
    await import_rows(operator, row)
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
    service.clock.advance(timedelta(hours=1))
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada")


BAD_ROWS: list[tuple[UserRecord, str, str]] = [
    (record(""), "username", "REQUIRED"),
    (record("a b"), "username", "CHARACTERS"),
    (record(user_id="1"), "user_id", "UUID"),
    (record(attributes={"email": "nobody"}), 'attributes["email"]', "EMAIL"),
    (record(attributes={"email": "a@example.com", "shoe": "41"}), "attributes", "UNKNOWN"),
    (record(attributes={"phone_number": "123"}, email_verified=False), 'attributes["phone_number"]', "E164"),
    (record(attributes={}), "email_verified", "ABSENT"),
    (record(phone_number_verified=True), "phone_number_verified", "ABSENT"),
    (record(password_hash="md5"), "password_hash", "UNKNOWN"),
    (record(password_hash=HASH.replace("$04$", "$31$")), "password_hash", "COST"),
    (record(created_at=stamp(NOON + timedelta(minutes=5, seconds=1))), "created_at", "FUTURE"),
    (record(updated_at=stamp(NOON + timedelta(days=1))), "updated_at", "FUTURE"),
    (record(groups=["a b"]), "groups", "CHARACTERS"),
    (record(groups=[""]), "groups", "REQUIRED"),
    (record(groups=[f"g{number}" for number in range(101)]), "groups", "LIMIT"),
    (record(groups=["nobody-made-it"]), "groups", "GROUP_NOT_FOUND"),
    (record(totp_devices=[TotpRecord(secret="not base32!")]), "totp_devices[0].secret", "BASE32"),
    (record(totp_devices=[TotpRecord(secret="JBSWY3DPEHPK3PXPJ")]), "totp_devices[0].secret", "BASE32"),
    (record(totp_devices=[TotpRecord(secret="JBSWY3DP")]), "totp_devices[0].secret", "BASE32"),
    (record(totp_devices=[TotpRecord(secret="JBSWY3DPEHPK3PXP")]), "totp_devices[0].secret", "SHORT"),
    (record(totp_devices=[TotpRecord(secret="JBSWY3DPEHPK3PXPJBSWY3DP")]), "totp_devices[0].secret", "SHORT"),
    (record(totp_devices=[TotpRecord(secret=SECRET, friendly_name="x" * 65)]), "totp_devices[0].friendly_name", "NAME"),
    (record(totp_devices=[TotpRecord(secret=SECRET)] * 6), "totp_devices", "LIMIT"),
    (record(status=9), "", "UNKNOWN"),
]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_every_bad_row_is_reported_and_left_out(operator: Operator, database: Database, dry_run: bool) -> None:
    """Each row that breaks a rule is told with field and rule; the good row between them is taken."""
    rows = [row for row, _, _ in BAD_ROWS]
    done = await import_rows(operator, *rows, record("grace"), dry_run=dry_run)
    assert (done.imported, done.duplicates, done.refused) == (1, 0, len(BAD_ROWS))
    reported = {(field, rule, row) for field, rule, rows in told(done.problems) for row in rows}
    assert reported == {(field, rule, number) for number, (_, field, rule) in enumerate(BAD_ROWS, start=1)}
    assert await database.fetchval("select count(*) from users") == (0 if dry_run else 1)


async def test_all_rules_that_a_row_breaks_are_reported(operator: Operator) -> None:
    """A row is told all that is wrong with it at once, and each thing once."""
    row = record("a b", password_hash="md5", groups=["a b", "c d"])
    done = await import_rows(operator, row)
    assert {(field, rule) for field, rule, _ in told(done.problems)} == {
        ("username", "CHARACTERS"),
        ("password_hash", "UNKNOWN"),
        ("groups", "CHARACTERS"),
    }
    assert done.refused == 1


async def test_rows_that_the_caller_cannot_read_are_counted_and_reported(operator: Operator) -> None:
    """What the caller found wrong with a row is reported like what the server finds; a row of nothing is refused."""
    unreadable = UnreadableRow(field="line", rule="JSON", description="must be a JSON object")
    message = batch([record(), unreadable, UnreadableRow(field="\0")])
    message.batch.rows.append(ImportRow())
    done = await send(operator, options(), message)
    assert (done.next_row, done.imported, done.refused) == (5, 1, 3)
    assert told(done.problems) == [("line", "JSON", [2]), ("", "UNREADABLE", [3]), ("", "REQUIRED", [4])]


async def test_wrong_tries_of_a_name_from_before_do_not_count(service: Service, operator: Operator) -> None:
    """Whoever guessed at a name before it existed doesn't lock the account that is imported under it."""
    for _ in range(5):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada")
    async with fails("LIMIT_EXCEEDED"):
        await service.sign_in("ada")
    await import_rows(operator, record(password_hash=HASH))
    assert step_of(await service.sign_in("ada")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


@pytest.mark.parametrize(
    ("fields", "told_fields"),
    [
        ({"disabled": True}, {"disabled": True}),
        ({"totp_mfa": False}, {"totp_mfa": False}),
        ({"totp_mfa": True}, {}),
        ({"sms_mfa": True, "email_mfa": True}, {"sms_mfa": True, "email_mfa": True}),
        ({"preferred_mfa": MFA_TYPE_TOTP}, {"preferred_mfa": MFA_TYPE_TOTP}),
        ({"status": UserStatus.USER_STATUS_UNCONFIRMED}, {"status": UserStatus.USER_STATUS_UNCONFIRMED}),
    ],
)
async def test_states_are_kept(operator: Operator, fields: dict[str, Any], told_fields: dict[str, Any]) -> None:
    """What a row says of the account's state is what an export says afterwards."""
    await import_rows(operator, record(password_hash=HASH, **fields))
    (exported,) = await export(operator)
    expected = record(
        **{
            "user_id": exported.user_id,
            "created_at": stamp(NOON),
            "status": UserStatus.USER_STATUS_CONFIRMED,
            "password_hash": HASH,
            **told_fields,
        }
    )
    assert exported == expected


async def test_custom_attributes_are_the_operators_to_write(run: Run, admin_keys: AdminKeys) -> None:
    """Declared attributes are imported, also those that users may not write; their types are checked."""
    declared = {"custom:seats": CustomAttribute(type=AttributeType.NUMBER, max=9)}
    made = await admin_keys.create("importer", timedelta(days=1), scopes=[AdminScope.ALL])
    assert made is not None
    async with run(attributes={"custom": declared}) as service:
        operator = Operator(service.channel, made[0])
        rows = [
            record(f"user{number}", attributes={"custom:seats": str(number)}, email_verified=False)
            for number in (9, 10)
        ]
        done = await import_rows(operator, *rows)
        assert told(done.problems) == [('attributes["custom:seats"]', "RANGE", [2])]
        (user,) = await export(operator)
        assert dict(user.attributes) == {"custom:seats": "9"}


async def test_address_for_a_username_is_taken_where_the_settings_allow_it(run: Run, admin_keys: AdminKeys) -> None:
    """Where users sign in by address, a row may have one for its username; the id becomes the name, as at a sign-up."""
    made = await admin_keys.create("importer", timedelta(days=1), scopes=[AdminScope.ALL])
    assert made is not None
    rows = [
        UserRecord(username="Ada@example.com", email_verified=True, password_hash=HASH),
        record("grace@example.com", attributes={"email": "hopper@example.com"}),
        record("ADA@example.com", attributes={}),
        record("grace@nowhere", attributes={"email": "grace@example.com"}),
    ]
    async with run(accounts={"sign_in_by_email": True}) as service:
        operator = Operator(service.channel, made[0])
        done = await import_rows(operator, *rows)
        assert told(done.problems) == [("username", "EMAIL", [2, 4]), ('attributes["email"]', "EMAIL_EXISTS", [3])]
        (user,) = await export(operator)
        assert user.username == user.user_id
        assert dict(user.attributes) == {"email": "Ada@example.com"}
        assert step_of(await service.sign_in("ada@example.com")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_an_unconfirmed_account_has_time_to_be_confirmed(
    service: Service, operator: Operator, database: Database
) -> None:
    """An unconfirmed account keeps its name for as long after its import as one that signed up is kept."""
    row = record(
        status=UserStatus.USER_STATUS_UNCONFIRMED, password_hash=HASH, created_at=stamp(MADE), email_verified=False
    )
    await import_rows(operator, row)
    until = await database.fetchval("select reserved_until from users")
    assert until - service.clock.now() == service.settings.accounts.unconfirmed_purge
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"


def test_secrets_are_in_no_repr() -> None:
    """What is validated shows neither hashes nor secrets when printed."""
    printed = repr(from_proto(whole(password_hash=HASH)))
    assert "ada" in printed.lower()
    assert HASH not in printed
    assert SECRET not in printed
