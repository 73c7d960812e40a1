"""What a user reads of what an operator did."""

from __future__ import annotations

from datetime import timedelta

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from tests.admin.operator import TEMPORARY, Operator
from tests.admin.transfers import import_rows, record
from tests.mail.reading import HtmlPage, paragraphs_of_text
from tests.rpc.attribute_calls import NUMBER
from tests.rpc.calls import settle, step_of
from tests.service import Service

NOON = "2030-01-15 12:00 UTC"


async def test_invitation(service: Service, operator: Operator) -> None:
    """An invitation says username and temporary password, until when it is good, and puts weight on it."""
    await operator.create("Ada", temporary_password=TEMPORARY)
    mail = await service.mail("Ada@example.com")
    assert mail["Subject"] == "Your new account"
    paragraphs = paragraphs_of_text(mail)
    assert paragraphs == [
        "You have been given the account Ada. Sign in with this username and a temporary password.",
        f"Your temporary password is {TEMPORARY}",
        "At your first sign-in you choose a password of your own; the temporary one is valid until "
        "2030-01-22 12:00 UTC. Never tell either of them to anyone, whoever asks.",
        "If you do not know what this is about, ignore this mail: without the temporary password nobody can use the "
        "account.",
    ]
    assert HtmlPage(mail).paragraphs == paragraphs
    assert HtmlPage(mail).emphasised == [TEMPORARY]


async def test_invitation_in_french(service: Service, operator: Operator) -> None:
    """The operator says in which language the user reads."""
    await operator.create("ada", attributes={"email": "ada@example.com", "locale": "fr-BE"})
    assert (await service.mail("ada@example.com"))["Subject"] == "Votre nouveau compte"


async def test_invitation_replaces_the_former(service: Service, operator: Operator, database: Database) -> None:
    """Of two invitations that wait, the one whose password still works is sent."""
    await service.catcher.stop()
    await operator.create("ada", temporary_password=TEMPORARY)
    await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="ada"))
    await service.catcher.start()
    for _ in range(5):
        service.clock.advance(timedelta(minutes=1))
    (mail,) = await settle(service, database)
    (password,) = HtmlPage(mail).emphasised
    assert password != TEMPORARY
    started = await service.sign_in("ada", password=password)
    assert step_of(started) == "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"


async def test_reset_of_second_factors(service: Service, operator: Operator) -> None:
    """Who has no second factor any more reads that it was the operators, and what to do."""
    account = await service.enrolled("ada")
    before = service.catcher.last_number()
    await operator.call("ResetUserMfa", pb.ResetUserMfaRequest(username="ada"))
    mail = await service.mail(account.email, after=before)
    assert paragraphs_of_text(mail) == [
        f"The operators of this service removed every second factor from the account ada on {NOON}. You can set up new "
        "ones when you next sign in.",
        "If you did not ask for it, turn to the support of this service, and change your password.",
    ]


async def test_changed_and_removed_address(service: Service, operator: Operator, database: Database) -> None:
    """The former address reads that another one has taken its place, which it shows masked, or that it was removed."""
    account = await service.enrolled("ada")
    mails = await settle(service, database)
    await operator.update("ada", attributes={"email": "new@example.org"}, email_verified=True)
    await operator.update("ada", remove_attributes=["email"])
    changed, removed = (await settle(service, database))[len(mails) :]
    assert (changed["Delivered-To"], removed["Delivered-To"]) == (account.email, "new@example.org")
    assert changed["Subject"] == removed["Subject"] == "Your e-mail address was changed"
    assert paragraphs_of_text(changed)[0] == (
        f"On {NOON} the e-mail address of the account ada was changed from this one to n***@e***. From now on mail "
        "about the account goes there."
    )
    assert "new@" not in changed.as_string()
    assert paragraphs_of_text(removed)[0] == (
        f"On {NOON} this e-mail address was removed from the account ada. Mail about the account does not reach you "
        "any more."
    )


async def test_replaced_number_of_a_second_factor(service: Service, operator: Operator, database: Database) -> None:
    """Whose codes go to another number from now on reads that the second factors were changed; others read nothing."""
    await import_rows(operator, record("ada", sms_mfa=True))
    await service.enrolled("eve")
    mails = await settle(service, database)
    for name in ("ada", "eve"):
        await operator.update(name, attributes={"phone_number": NUMBER, "name": name})
        await operator.update(name, attributes={"phone_number": NUMBER, "name": "Ada"})
    (told,) = (await settle(service, database))[len(mails) :]
    assert told["Delivered-To"] == "ada@example.com"
    assert paragraphs_of_text(told)[0] == (
        f"The second factors that the account ada asks for at sign-in were changed on {NOON}."
    )
