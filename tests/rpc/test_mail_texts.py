"""Every mail as it arrives and as its reader reads it."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.mail.reading import HtmlPage, paragraphs_of_text
from tests.rpc.calls import (
    confirm,
    confirm_reset,
    recipients,
    refresh,
    resend,
    reset,
    reset_code,
    settle,
    update,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails
from tests.waiting import until

DAY = timedelta(hours=24)


def read(mail: EmailMessage) -> tuple[str, list[str]]:
    """Return a mail's subject and paragraphs, which text and HTML part show alike."""
    page = HtmlPage(mail)
    paragraphs = paragraphs_of_text(mail)
    assert page.paragraphs == paragraphs
    assert page.title == mail["Subject"]
    return mail["Subject"], paragraphs


async def test_sign_up_code(service: Service) -> None:
    """The mail of a sign-up has the default subject and text, the account, and until when the code is good."""
    await service.sign_up("Ada", email="ada@example.com")
    mail = await service.mail("ada@example.com")
    code = await service.code("ada@example.com")
    assert read(mail) == (
        "Your verification code",
        [
            f"Your verification code is {code}",
            "It confirms the new account Ada and is valid until 2030-01-16 12:00 UTC.",
            "If you did not ask for an account, ignore this mail: without the code nothing happens.",
        ],
    )
    assert HtmlPage(mail).emphasised == [code]


async def test_headers(service: Service) -> None:
    """A mail goes to its reader alone, from the service's address, dated by the clock, and asks for no reply."""
    await service.sign_up("ada", email="ada@example.com")
    mail = await service.mail("ada@example.com")
    assert (mail["From"], mail["To"]) == ("no-reply@authsvc.invalid", "ada@example.com")
    assert (mail["Cc"], mail["Bcc"]) == (None, None)
    assert parsedate_to_datetime(mail["Date"]) == service.clock.now().replace(microsecond=0)
    assert mail["Message-ID"].endswith("@authsvc.invalid>")
    assert mail["Auto-Submitted"] == "auto-generated"


async def test_reset_code(service: Service) -> None:
    """The mail of a reset has the default subject and text, the account, and until when the code is good."""
    account = await service.enrolled("Ada")
    before = service.catcher.last_number()
    await reset(service, "ADA")
    mail = await service.mail(account.email, after=before)
    code = await service.code(account.email, after=before)
    assert len(code) == 8
    assert read(mail) == (
        "Your verification code",
        [
            f"Your verification code is {code}",
            "With it you can choose a new password for the account Ada until 2030-01-15 12:10 UTC. "
            "Never tell it to anyone, whoever asks.",
            "If you did not ask to reset your password, ignore this mail: your password stays as it is.",
        ],
    )
    assert HtmlPage(mail).emphasised == [code]


async def test_password_changed(service: Service) -> None:
    """After an update and after a reset the user reads when the password was changed, and what to do."""
    account = await service.enrolled("Ada")
    before = service.catcher.last_number()
    await update(service, account.tokens, PASSWORD)
    by_update = await service.mail(account.email, after=before)
    code = await reset_code(service, account)
    before = service.catcher.last_number()
    await confirm_reset(service, "ada", code, "Another-5-lemons-tree")
    by_reset = await service.mail(account.email, after=before)
    assert by_update["Message-ID"] != by_reset["Message-ID"]
    for mail in (by_update, by_reset):
        assert read(mail) == (
            "Your password was changed",
            [
                "The password of the account Ada was changed on 2030-01-15 12:00 UTC.",
                "If it was you, there is nothing to do. If it was not, reset your password now and check that your "
                "second factor is still yours.",
            ],
        )


async def test_mfa_changed(service: Service) -> None:
    """After a new authenticator the user reads when the second factor was changed, and what to do."""
    account = await service.enrolled("Ada")
    mail = service.catcher.messages()[-1]
    assert mail["Delivered-To"] == account.email
    assert read(mail) == (
        "Your two-step sign-in was changed",
        [
            "An authenticator was added to the account Ada on 2030-01-15 12:00 UTC.",
            "If it was you, there is nothing to do. If it was not, someone else can sign in as you: change your "
            "password now and remove every authenticator that you do not know.",
        ],
    )


async def test_refresh_token_reused(service: Service) -> None:
    """After the reuse of a refresh token the user reads which account, when, and that other sessions go on."""
    account = await service.enrolled("Ada")
    await refresh(service, account.tokens.refresh_token)
    service.clock.advance(timedelta(minutes=3))
    before = service.catcher.last_number()
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, account.tokens.refresh_token)
    assert read(await service.mail(account.email, after=before)) == (
        "You were signed out for safety",
        [
            "On 2030-01-15 12:03 UTC a session of the account Ada was continued from two places, as if somebody had "
            "copied it, and was ended. Your other sessions go on.",
            "Sign in again where you need to. If you do not know how this could happen, change your password and sign "
            "out everywhere.",
        ],
    )


async def test_address_taken(service: Service) -> None:
    """The owner of an address reads that somebody signed up with it, and nothing of that somebody or a code."""
    await service.confirmed("Ada")
    before = service.catcher.last_number()
    await service.sign_up("Mallory", email="ADA@example.com")
    mail = await service.mail("Ada@example.com", after=before)
    assert read(mail) == (
        "Somebody tried to use your address",
        [
            "On 2030-01-15 12:00 UTC somebody tried to create an account with this e-mail address, or to add it to "
            "another account. It already belongs to your account Ada, so it cannot serve for a second one.",
            "If it was you, sign in as Ada; if you forgot the password, reset it. If it was not you, there is nothing "
            "to do: they were not told that you have an account.",
        ],
    )
    assert HtmlPage(mail).emphasised == []


async def test_templates_of_the_settings(run: Run) -> None:
    """Subject and text of codes are the operator's, with the code in place of {####}; codes of resets too."""
    words = {"code_subject": "{####} is your code", "code_message": "Hello!\n\nType {####} now.", "from_name": "Shop"}
    async with run(mail={**words, "from_address": "shop@shop.example"}) as service:
        account = await service.enrolled("ada")
        await reset_code(service, account)
        for mail in (service.catcher.messages()[0], service.catcher.messages()[-1]):
            subject, paragraphs = read(mail)
            code = subject.split()[0]
            assert code.isdigit()
            assert subject == f"{code} is your code"
            assert paragraphs[:2] == ["Hello!", f"Type {code} now."]
            assert mail["From"] == "Shop <shop@shop.example>"
            assert mail["Message-ID"].endswith("@shop.example>")


async def test_language_falls_back_to_english(service: Service) -> None:
    """A locale without templates reads the English ones."""
    attributes = {"email": "ada@example.com", "locale": "eo-001"}
    await service.stub.SignUp(pb.SignUpRequest(username="ada", password=PASSWORD, attributes=attributes))
    subject, _ = read(await service.mail("ada@example.com"))
    assert subject == "Your verification code"


async def test_addresses_beyond_ascii(service: Service) -> None:
    """A code reaches an address with letters of any script, in both halves."""
    await service.sign_up("\u7528\u6237", email="\u7528\u6237@b\u00fccher.example")
    code = await service.code("\u7528\u6237@xn--bcher-kva.example")
    await confirm(service, "\u7528\u6237", code)


async def test_expired_mail_is_never_sent(service: Service, database: Database) -> None:
    """A code whose time ran out while the mail server was away is not mailed any more."""
    await service.catcher.stop()
    await service.sign_up("ada")

    async def has_failed() -> bool:
        return bool(await database.fetchval("select attempts > 0 and leased_until is null from outbox"))

    # Else a try that began in time may reach the server once it is back, as it may.
    await until(has_failed)
    service.clock.advance(DAY)
    await service.catcher.start()
    assert recipients(await settle(service, database)) == []
    assert await database.fetchval("select state from outbox") == "DEAD"
    await resend(service, "ada")
    assert recipients(await settle(service, database)) == ["ada@example.com"]


async def test_mail_server_away_changes_no_answer(service: Service, database: Database) -> None:
    """While the mail server is away calls answer as ever, and their mail arrives when it is back."""
    await service.catcher.stop()
    made = await service.sign_up("ada")
    assert made.next_step.code_delivery.destination == "a***@e***"
    await service.catcher.start()
    for _ in range(5):
        service.clock.advance(timedelta(minutes=1))
    await confirm(service, "ada", await service.code("ada@example.com"))
    assert len(await settle(service, database)) == 1
