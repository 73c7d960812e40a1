"""CreateUser and ResendInvitation: accounts that operators make."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2 as auth
from tests.admin.operator import TEMPORARY, Operator, events_of
from tests.admin.transfers import import_rows, record
from tests.mail.reading import text_of
from tests.rpc.calls import NEW_PASSWORD, confirm, reset, settle, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails


async def temporary_password(service: Service, address: str = "ada@example.com", *, after: int = 0) -> str:
    """Read the temporary password in an invitation."""
    text = text_of(await service.mail(address, after=after))
    found = re.search(r"[A-Z][a-z][2-9](-[a-z2-9]+)+", text)
    assert found, text
    return found[0]


async def choose(service: Service, session: str, password: str = NEW_PASSWORD) -> auth.ConfirmSignInResponse:
    """Answer the step that asks for a password of the user's own."""
    return await service.stub.ConfirmSignIn(auth.ConfirmSignInRequest(session=session, new_password=password))


async def test_invited_user_signs_in_with_the_mailed_password_and_changes_it(
    service: Service, operator: Operator, database: Database
) -> None:
    """The invitation's password leads to the choice of another, and then on to the second factor."""
    made = await operator.create("Ada")
    assert made.username == "Ada"
    assert made.status == auth.USER_STATUS_FORCE_CHANGE_PASSWORD
    assert (made.enabled, made.email_verified) == (True, False)
    password = await temporary_password(service, "Ada@example.com")
    started = await service.sign_in("ada", password=password)
    assert step_of(started) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
    assert step_of(await choose(service, started.session)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    assert (await operator.get()).status == auth.USER_STATUS_CONFIRMED
    assert await database.fetchval("select expires_at from passwords") is None
    assert await events_of(database, made) == [("ADMIN_CREATE_USER", "operator:ops", "SUCCESS")]


async def test_temporary_password_ends(service: Service, operator: Operator) -> None:
    """A tick before seven days a temporary password still leads on, at their end it is wrong like any other."""
    await operator.create(temporary_password=TEMPORARY, suppress_invitation=True)
    life = service.settings.accounts.temporary_password_ttl
    service.clock.advance(life - timedelta(microseconds=1))
    assert step_of(await service.sign_in(password=TEMPORARY)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
    service.clock.advance(timedelta(microseconds=1))
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password=TEMPORARY)


async def test_invitation_is_not_sent_if_the_operator_says_so(
    service: Service, operator: Operator, database: Database
) -> None:
    """With suppress_invitation nobody is mailed, and no address is needed."""
    await operator.create(temporary_password=TEMPORARY, suppress_invitation=True)
    await operator.create("bob", attributes={}, temporary_password=TEMPORARY, suppress_invitation=True)
    assert await settle(service, database) == []
    assert step_of(await service.sign_in("bob", password=TEMPORARY)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_a_further_invitation_replaces_the_former_password(service: Service, operator: Operator) -> None:
    """ResendInvitation mails another password for another seven days; the former one is wrong from then on.

    A sign-in that began with it has ended too.
    """
    await operator.create()
    first = await temporary_password(service)
    begun = await service.sign_in(password=first)
    sent = await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="ada"))
    assert sent.code_delivery.destination == "a***@e***"
    second = await temporary_password(service, after=1)
    assert second != first
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password=first)
    async with fails("SESSION_EXPIRED"):
        await choose(service, begun.session)
    service.clock.advance(service.settings.accounts.temporary_password_ttl)
    await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="ada"))
    third = await temporary_password(service, after=2)
    assert step_of(await service.sign_in(password=third)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_invitation_to_a_wrong_address_opens_nothing_once_that_is_corrected(
    service: Service, operator: Operator, database: Database
) -> None:
    """The password that was mailed to an address ends with that address; the next goes to the new one."""
    await operator.create()
    password = await temporary_password(service)
    await operator.update(attributes={"name": "Ada"})
    assert step_of(await service.sign_in(password=password)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
    await settle(service, database)
    # As after a failed try.
    await database.execute(
        "update outbox set state = 'QUEUED', finished_at = null, sealed_parameters = '\\x00',"
        " not_before = not_before + interval '1 hour' where kind = 'INVITATION'"
    )
    await operator.update(attributes={"email": "right@example.com"})
    assert await database.fetchval("select state from outbox where kind = 'INVITATION'") == "DROPPED"
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password=password)
    await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="ada"))
    right = await temporary_password(service, "right@example.com")
    assert step_of(await service.sign_in(password=right)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_password_that_was_told_otherwise_outlives_an_address(service: Service, operator: Operator) -> None:
    """A temporary password that no mail told is good after the address is corrected."""
    await operator.create(temporary_password=TEMPORARY, suppress_invitation=True)
    await operator.update(attributes={"email": "right@example.com"})
    assert step_of(await service.sign_in(password=TEMPORARY)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_only_who_waits_is_invited_again(service: Service, operator: Operator) -> None:
    """Nobody with a password of their own, without an address, disabled or not there gets a further invitation."""
    await service.confirmed("ada")
    await operator.create("bob", attributes={}, temporary_password=TEMPORARY, suppress_invitation=True)
    await operator.create("carol", temporary_password=TEMPORARY, suppress_invitation=True)
    await operator.call("DisableUser", pb.DisableUserRequest(username="carol"))
    for username, rule in (("ada", "STATUS"), ("bob", "NO_EMAIL"), ("carol", "DISABLED")):
        async with fails("INVALID_FIELDS") as failures:
            await operator.call("ResendInvitation", pb.ResendInvitationRequest(username=username))
        assert failures[0].violations == [("user", rule)]
    async with fails("USER_NOT_FOUND"):
        await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="eve"))


async def test_taken_names_and_verified_addresses_are_told(service: Service, operator: Operator) -> None:
    """Operators are told of a taken name and, if it is to count as verified, of a taken address; nothing is made."""
    await service.confirmed("ada")
    async with fails("USERNAME_EXISTS"):
        await operator.create("ADA")
    same = {"email": "ADA@example.com"}
    async with fails("EMAIL_EXISTS"):
        await operator.create("bob", attributes=same, email_verified=True)
    async with fails("USER_NOT_FOUND"):
        await operator.get("bob")
    assert (await operator.create("bob", attributes=same)).email_verified is False


async def test_verified_marks_hold(service: Service, operator: Operator) -> None:
    """What the operator marks as verified is: a reset code goes to the address at once."""
    made = await operator.create(
        attributes={"email": "ada@example.com", "phone_number": "+14155550123", "name": "Ada"},
        email_verified=True,
        phone_number_verified=True,
        temporary_password=TEMPORARY,
        suppress_invitation=True,
    )
    assert (made.email_verified, made.phone_number_verified) == (True, True)
    assert dict(made.attributes) == {"email": "ada@example.com", "phone_number": "+14155550123", "name": "Ada"}
    await service.stub.ResetPassword(auth.ResetPasswordRequest(username="ada"))
    assert await service.code("ada@example.com")


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({"username": "", "attributes": {"email": "a@example.com"}}, [("username", "REQUIRED")]),
        ({"attributes": {}}, [('attributes["email"]', "REQUIRED")]),
        ({"suppress_invitation": True}, [("temporary_password", "REQUIRED")]),
        (
            {"attributes": {"email": "nonsense"}, "username": "a b", "temporary_password": "short"},
            [("username", "CHARACTERS"), ('attributes["email"]', "EMAIL"), ("temporary_password", "MIN_LENGTH")],
        ),
        ({"phone_number_verified": True}, [("phone_number_verified", "MISSING")]),
    ],
)
async def test_every_broken_rule_is_told_at_once(
    operator: Operator, fields: dict[str, Any], violations: list[tuple[str, str]]
) -> None:
    """A request that breaks rules is told all of them."""
    async with fails("INVALID_FIELDS") as failures:
        await operator.create(**{"username": "ada", **fields})
    assert failures[0].violations == violations


async def test_temporary_passwords_keep_the_policy(operator: Operator) -> None:
    """A weak temporary password is refused like a weak one of a user's."""
    async with fails("INVALID_PASSWORD") as failures:
        await operator.create(temporary_password="ada-1-password")
    assert failures[0].violations == [("temporary_password", "OWN_WORDS")]


@pytest.mark.parametrize("least", [8, 40, 64])
async def test_made_passwords_keep_every_policy(run: Run, key: str, least: int) -> None:
    """Whatever length and composition the settings ask for, the password made for an invitation has."""
    rules = {f"require_{kind}": True for kind in ("lowercase", "uppercase", "numbers", "symbols")}
    lengths = {"min_length_with_mfa": least, "max_length": 64}
    async with run(passwords={**rules, **lengths}) as service:
        await Operator(service.channel, key).create()
        password = await temporary_password(service)
        assert step_of(await service.sign_in(password=password)) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_a_name_that_nobody_confirmed_in_time_is_free(service: Service, operator: Operator) -> None:
    """An operator can have a username whose sign-up code has expired, and not before."""
    await service.sign_up("ada")
    async with fails("USERNAME_EXISTS"):
        await operator.create()
    service.clock.advance(service.settings.codes.sign_up_ttl)
    made = await operator.create(attributes={"email": "countess@example.com"})
    assert made.attributes["email"] == "countess@example.com"
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password=PASSWORD)


async def test_vouching_for_an_address_leaves_its_code_good(service: Service, operator: Operator) -> None:
    """Who signed up can still confirm with the code of the mail after an operator has verified the address."""
    await service.sign_up("ada")
    code = await service.code("ada@example.com")
    await operator.update("ada", email_verified=True)
    await confirm(service, "ada", code)
    assert (await operator.get("ada")).status == auth.USER_STATUS_CONFIRMED


@pytest.mark.parametrize("is_mailed", [True, False])
async def test_mailed_password_is_not_proved_by_mail(run: Run, key: str, is_mailed: bool) -> None:
    """Who reads the mailbox has an invited user's password, so a code to it is no second factor; else it is one."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        operator = Operator(service.channel, key)
        await operator.create(email_verified=True, temporary_password=TEMPORARY, suppress_invitation=not is_mailed)
        chosen = await choose(service, (await service.sign_in(password=TEMPORARY)).session)
        setup = "CONTINUE_SIGN_IN_WITH_" + ("TOTP_SETUP" if is_mailed else "MFA_SETUP_SELECTION")
        assert step_of(chosen) == setup
        # Whoever chose the password may be the reader of the mailbox: it is the same in a later sign-in.
        assert step_of(await service.sign_in(password=NEW_PASSWORD)) == setup


async def test_further_invitation_does_not_open_an_account_that_mail_protects(run: Run, key: str) -> None:
    """A password mailed to the mailbox that is the only second factor is proved by no code to the same mailbox."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        operator = Operator(service.channel, key)
        await import_rows(operator, record("ada", email_mfa=True))
        await operator.call(
            "SetUserPassword", pb.SetUserPasswordRequest(username="ada", password=TEMPORARY, temporary=True)
        )
        await service.mail("ada@example.com")
        await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="ada"))
        started = await service.sign_in(password=await temporary_password(service, after=1))
        assert step_of(await choose(service, started.session)) == "RESET_PASSWORD"


async def test_recovered_password_stays_so_when_another_is_chosen(run: Run, key: str) -> None:
    """A temporary password that was reset by mail leads to the choice of another, which mail does not prove either."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        await service.confirmed("ada")
        operator = Operator(service.channel, key)
        await operator.call(
            "SetUserPassword", pb.SetUserPasswordRequest(username="ada", password=TEMPORARY, temporary=True)
        )
        before = service.catcher.last_number()
        await reset(service, "ada")
        code = await service.code("ada@example.com", after=before)
        recovered = "Recovered-9-by-the-mailbox"
        await service.stub.ConfirmResetPassword(
            auth.ConfirmResetPasswordRequest(username="ada", confirmation_code=code, new_password=recovered)
        )
        started = await service.sign_in(password=recovered)
        assert step_of(started) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
        assert step_of(await choose(service, started.session)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
