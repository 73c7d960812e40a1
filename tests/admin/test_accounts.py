"""What operators do to accounts, and what users see of it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2 as auth
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_TOTP
from tests.admin.operator import TEMPORARY, Operator, events_of
from tests.mail.reading import text_of
from tests.rpc.calls import NEW_PASSWORD, answer, confirm_reset, is_live, refresh, step_of, wrong_totp
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, fails

Act = Callable[[Operator, Account], Awaitable[object]]


def act(method: str, request: type, **fields: object) -> Act:
    """Return the call of a method that takes a user."""

    async def call(operator: Operator, account: Account) -> object:
        return await operator.call(method, request(user_id=account.user_id, **fields))

    return call


ENDING: dict[str, Act] = {
    "DisableUser": act("DisableUser", pb.DisableUserRequest),
    "SignOutUser": act("SignOutUser", pb.SignOutUserRequest),
    "ResetUserMfa": act("ResetUserMfa", pb.ResetUserMfaRequest),
    "ResetUserPassword": act("ResetUserPassword", pb.ResetUserPasswordRequest),
    "SetUserPassword": act("SetUserPassword", pb.SetUserPasswordRequest, password=NEW_PASSWORD),
    "SetUserPassword, temporary": act("SetUserPassword", pb.SetUserPasswordRequest, password=TEMPORARY, temporary=True),
}


@pytest.mark.parametrize("name", ENDING)
async def test_everything_that_was_begun_ends_at_once(
    service: Service, operator: Operator, database: Database, name: str
) -> None:
    """Access tokens, refresh tokens and half-done sign-ins of the user end with the call; another user's stay."""
    ada, bob = await service.enrolled("ada"), await service.enrolled("bob")
    service.next_totp_step()
    half_done = await service.sign_in("ada")
    await ENDING[name](operator, ada)
    assert not await is_live(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await refresh(service, ada.tokens.refresh_token)
    async with fails("SESSION_EXPIRED"):
        await answer(service, half_done.session, service.totp(ada.secret))
    assert await is_live(service, bob.tokens)
    (event,) = await events_of(database, ada.user_id)
    assert event[1:] == ("operator:ops", "SUCCESS")


async def test_a_disabled_user_signs_in_no_more_until_enabled(service: Service, operator: Operator) -> None:
    """A disabled user is told so after the right password, and signs in again once enabled; repeats change nothing."""
    ada = await service.enrolled()
    for _ in range(2):
        await operator.call("DisableUser", pb.DisableUserRequest(username="ada"))
    assert (await operator.get()).enabled is False
    async with fails("USER_DISABLED"):
        await service.sign_in()
    for _ in range(2):
        await operator.call("EnableUser", pb.EnableUserRequest(username="ADA"))
    assert (await operator.get()).enabled is True
    assert not await is_live(service, ada.tokens)
    assert await is_live(service, await service.sign_in_fully(ada))


async def test_a_password_of_the_operators_opens_and_is_told(service: Service, operator: Operator) -> None:
    """The new password signs in, the old one is wrong, a closed password is open, and the user is told by mail."""
    ada = await service.enrolled()
    before = service.catcher.last_number()
    for _ in range(5):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in(password="wrong-7-sparrows")
    async with fails("LIMIT_EXCEEDED"):
        await service.sign_in()
    await ENDING["SetUserPassword"](operator, ada)
    assert "password" in str((await service.mail(ada.email, after=before))["Subject"]).lower()
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in()
    assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    assert (await operator.get()).status == auth.USER_STATUS_CONFIRMED


async def test_a_temporary_password_of_the_operators_has_to_be_changed(
    service: Service, operator: Operator, database: Database
) -> None:
    """It leads to the choice of another, and ends after seven days; a permanent one after it does not."""
    ada = await service.enrolled()
    await ENDING["SetUserPassword, temporary"](operator, ada)
    assert (await operator.get()).status == auth.USER_STATUS_FORCE_CHANGE_PASSWORD
    assert step_of(await service.sign_in(password=TEMPORARY)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
    service.clock.advance(service.settings.accounts.temporary_password_ttl)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password=TEMPORARY)
    await database.execute("update passwords set recovered_by = 'EMAIL'")
    await ENDING["SetUserPassword"](operator, ada)
    service.clock.advance(timedelta(days=30))
    assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    assert await database.fetchval("select recovered_by from passwords") is None


@pytest.mark.parametrize(
    ("password", "reason", "violations"),
    [
        ("", "INVALID_FIELDS", [("password", "REQUIRED")]),
        ("short", "INVALID_PASSWORD", [("password", "MIN_LENGTH")]),
        ("i-am-ada-and-9-lakes", "INVALID_PASSWORD", [("password", "OWN_WORDS")]),
    ],
)
async def test_a_password_of_the_operators_keeps_the_policy(
    service: Service, operator: Operator, password: str, reason: str, violations: list[tuple[str, str]]
) -> None:
    """Operators set no weak passwords either, and a refused one changes nothing."""
    ada = await service.enrolled()
    async with fails(reason) as failures:
        await operator.call("SetUserPassword", pb.SetUserPasswordRequest(username="ada", password=password))
    assert failures[0].violations == violations
    assert await is_live(service, ada.tokens)


async def test_who_has_to_reset_gets_a_code_and_no_further_with_the_old_password(
    service: Service, operator: Operator
) -> None:
    """The right old password leads to RESET_PASSWORD; the mailed code sets another, which signs in."""
    ada = await service.enrolled()
    before = service.catcher.last_number()
    sent = await operator.call("ResetUserPassword", pb.ResetUserPasswordRequest(username="ada"))
    assert sent.code_delivery.destination == "a***@e***"
    assert (await operator.get()).status == auth.USER_STATUS_RESET_REQUIRED
    assert step_of(await service.sign_in()) == "RESET_PASSWORD"
    await confirm_reset(service, "ada", await service.code(ada.email, after=before))
    assert (await operator.get()).status == auth.USER_STATUS_CONFIRMED
    assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_a_reset_needs_a_confirmed_account(service: Service, operator: Operator, database: Database) -> None:
    """Who is unconfirmed, or has a temporary password, is not reset; without a verified address no code is sent."""
    await service.sign_up("ada")
    await operator.create("bob", temporary_password=TEMPORARY, suppress_invitation=True)
    for username in ("ada", "bob"):
        async with fails("INVALID_FIELDS") as failures:
            await operator.call("ResetUserPassword", pb.ResetUserPasswordRequest(username=username))
        assert failures[0].violations == [("user", "STATUS")]
    await operator.call("SetUserPassword", pb.SetUserPasswordRequest(username="bob", password=PASSWORD))
    sent = await operator.call("ResetUserPassword", pb.ResetUserPasswordRequest(username="bob"))
    assert not sent.HasField("code_delivery")
    assert step_of(await service.sign_in("bob")) == "RESET_PASSWORD"


async def test_an_account_is_confirmed_without_its_code(service: Service, operator: Operator) -> None:
    """The user signs in, the address stays unverified, the code is worth nothing any more; a repeat changes nothing."""
    await service.sign_up("ada")
    code = await service.code("ada@example.com")
    for _ in range(2):
        await operator.call("ConfirmSignUp", pb.AdminServiceConfirmSignUpRequest(username="ada"))
    seen = await operator.get()
    assert (seen.status, seen.email_verified) == (auth.USER_STATUS_CONFIRMED, False)
    assert step_of(await service.sign_in()) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    async with fails("CODE_EXPIRED"):
        await service.stub.ConfirmSignUp(auth.ConfirmSignUpRequest(username="ada", confirmation_code=code))
    service.clock.advance(timedelta(days=400))
    async with fails("USERNAME_EXISTS"):
        await service.sign_up("ada")


async def test_lost_factors_are_removed_and_set_up_again(
    service: Service, operator: Operator, database: Database
) -> None:
    """After ResetUserMfa the next sign-in leads through set-up, recovery codes are gone, the user is told by mail."""
    ada = await service.enrolled()
    before = service.catcher.last_number()
    await service.stub.GenerateRecoveryCodes(auth.GenerateRecoveryCodesRequest(), metadata=ada.bearer)
    await service.mail(ada.email, after=before)
    assert list((await operator.get()).mfa_enabled) == [MFA_TYPE_TOTP]
    before = service.catcher.last_number()
    await ENDING["ResetUserMfa"](operator, ada)
    seen = await operator.get()
    assert list(seen.mfa_enabled) == []
    assert await database.fetchval("select count(*) from recovery_codes") == 0
    assert "operator" in text_of(await service.mail(ada.email, after=before))
    assert step_of(await service.sign_in()) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_unlocking_opens_every_factor(run: Run, key: str) -> None:
    """A password and an authenticator that were locked by wrong tries take right ones again at once."""
    async with run() as service:
        operator = Operator(service.channel, key)
        ada = await service.enrolled()
        service.next_totp_step()
        started = await service.sign_in()
        for _ in range(5):
            async with fails("CODE_MISMATCH"):
                await answer(service, started.session, wrong_totp(service, ada.secret))
        for _ in range(5):
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(password="wrong-7-sparrows")
        async with fails("LIMIT_EXCEEDED"):
            await service.sign_in()
        await operator.call("UnlockUser", pb.UnlockUserRequest(username="ada"))
        again = await service.sign_in()
        assert (await answer(service, again.session, service.totp(ada.secret))).is_signed_in


async def test_sessions_of_a_user_are_listed(service: Service, operator: Operator) -> None:
    """Operators see a user's live sessions in pages, and none of them as their own."""
    ada = await service.enrolled()
    await service.sign_in_fully(ada)
    first = await operator.call("ListUserSessions", pb.ListUserSessionsRequest(username="ada", page_size=1))
    rest = await operator.call(
        "ListUserSessions", pb.ListUserSessionsRequest(user_id=ada.user_id, page_token=first.next_page_token)
    )
    sessions = [*first.sessions, *rest.sessions]
    assert len({session.session_id for session in sessions}) == 2
    assert not any(session.is_current for session in sessions)
    assert rest.next_page_token == ""
    await service.enrolled("bob")
    async with fails("INVALID_FIELDS"):
        await operator.call(
            "ListUserSessions", pb.ListUserSessionsRequest(username="bob", page_token=first.next_page_token)
        )


async def test_a_user_is_named_by_name_or_id(service: Service, operator: Operator) -> None:
    """Name in any letter case and id name the same user; neither, or one that is none, is refused."""
    ada = await service.enrolled("Ada")
    by_name = await operator.get("aDA")
    by_id = await operator.call("GetUser", pb.GetUserRequest(user_id=ada.user_id))
    assert by_name == by_id.user
    for request, violation in (
        (pb.GetUserRequest(), ("user", "REQUIRED")),
        (pb.GetUserRequest(username=""), ("username", "REQUIRED")),
        (pb.GetUserRequest(user_id="ada"), ("user_id", "UUID")),
    ):
        async with fails("INVALID_FIELDS") as failures:
            await operator.call("GetUser", request)
        assert failures[0].violations == [violation]


NAMING_A_USER = [
    method
    for method in pb.DESCRIPTOR.services_by_name["AdminService"].methods
    # Events outlive their users: see the tests of ListAuthEvents.
    if "user" in method.input_type.oneofs_by_name and method.name != "ListAuthEvents"
]


@pytest.mark.parametrize("method", NAMING_A_USER, ids=lambda method: method.name)
async def test_a_user_who_is_not_there_is_told(operator: Operator, method: object) -> None:
    """Every method that names a user tells operators that there is none, by either name."""
    assert hasattr(method, "input_type")
    request = getattr(pb, method.input_type.name)
    others = {"password": NEW_PASSWORD, "group": "editors"}
    fields = {name: value for name, value in others.items() if name in request.DESCRIPTOR.fields_by_name}
    for user in ({"username": "nobody"}, {"user_id": "5f0c5a0e-7d3a-4b8b-9a51-000000000000"}):
        async with fails("USER_NOT_FOUND"):
            await operator.call(
                method.input_type.name.removeprefix("AdminService").removesuffix("Request"), request(**user, **fields)
            )


async def test_deleted_user_is_gone(service: Service, operator: Operator, database: Database) -> None:
    """What an operator deletes is erased as when its user does it, and recorded with the operator's name; once."""
    ada = await service.enrolled("ada")
    service.next_totp_step()
    half_done = await service.sign_in("ada")
    request = pb.AdminServiceDeleteUserRequest(user_id=ada.user_id)
    await operator.call("DeleteUser", request)
    assert not await is_live(service, ada.tokens)
    async with fails("SESSION_EXPIRED"):
        await answer(service, half_done.session, service.totp(ada.secret))
    async with fails("USER_NOT_FOUND"):
        await operator.call("DeleteUser", request)
    async with fails("USER_NOT_FOUND"):
        await operator.get("ada")
    assert await events_of(database, ada.user_id) == [("ADMIN_DELETE_USER", "operator:ops", "SUCCESS")]
    for table in ("outbox", "codes", "failures", "sessions"):
        assert await database.fetchval(f"select count(*) from {table}") == 0, table  # noqa: S608  # a name of a table
    await service.enrolled("ada")
