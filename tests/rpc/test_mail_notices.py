"""What happens to an account is told to its owner by mail, in the owner's language, and to nobody else."""

from __future__ import annotations

from email.message import EmailMessage

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL
from tests.mail.reading import HtmlPage, paragraphs_of_text
from tests.rpc.account_calls import add_authenticator, devices, prefer, remove_device
from tests.rpc.attribute_calls import confirm_attribute, set_attributes
from tests.rpc.calls import recovery_codes, settle, step_of, update
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, fails

NOON = "2030-01-15 12:00 UTC"
SUBJECT = "Your two-step sign-in was changed"
IF_NOT_YOU = (
    "If it was you, there is nothing to do. If it was not, someone else can sign in as you: change your password now "
    "and remove every authenticator that you do not know."
)


class Reader:
    """Read the mails of a service as they come."""

    def __init__(self, service: Service, database: Database) -> None:
        self._service = service
        self._database = database
        self._seen = 0

    async def new(self) -> list[EmailMessage]:
        """Return the mails that came since the last time, once none is on its way."""
        mails = await settle(self._service, self._database)
        new, self._seen = mails[self._seen :], len(mails)
        return new

    async def one(self) -> tuple[str, str, list[str]]:
        """Return recipient, subject and paragraphs of the only mail that came, alike in text and HTML."""
        (mail,) = await self.new()
        paragraphs = paragraphs_of_text(mail)
        assert HtmlPage(mail).paragraphs == paragraphs
        return mail["Delivered-To"], mail["Subject"], paragraphs


async def test_added_and_removed_authenticators(service: Service, database: Database) -> None:
    """The user reads that an authenticator was added, and that one was removed."""
    account, reader = await service.enrolled("Ada"), Reader(service, database)
    await reader.new()
    await add_authenticator(service, account.tokens, "Call 0900-EVE <b>now</b>")
    assert await reader.one() == (
        account.email,
        SUBJECT,
        [f"An authenticator was added to the account Ada on {NOON}.", IF_NOT_YOU],
    )
    await remove_device(service, account.tokens, (await devices(service, account.tokens))[0].device_id)
    assert await reader.one() == (
        account.email,
        SUBJECT,
        [f"An authenticator was removed from the account Ada on {NOON}.", IF_NOT_YOU],
    )


async def test_changed_preference(run: Run, database: Database) -> None:
    """The user reads that what is asked for at sign-in has changed."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        account, reader = await _chooser(service), Reader(service, database)
        await reader.new()
        await prefer(service, account.tokens, totp="PREFERRED")
        text = f"The second factors that the account ada asks for at sign-in were changed on {NOON}."
        assert await reader.one() == (account.email, SUBJECT, [text, IF_NOT_YOU])


async def _chooser(service: Service) -> Account:
    """Make an account, where mail can be a second factor too, with an authenticator."""
    made = await service.confirmed("ada")
    started = await service.sign_in()
    request = pb.ConfirmSignInRequest(session=started.session, mfa_type=MFA_TYPE_EMAIL)
    chosen = await service.stub.ConfirmSignIn(request)
    code = await service.code("ada@example.com", after=1)
    done = await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=chosen.session, email_code=code))
    secret = await add_authenticator(service, done.tokens)
    return Account("ada", "ada@example.com", made.user_id, secret, done.tokens)


async def test_mail_as_second_factor(run: Run, database: Database) -> None:
    """The mail with the code of a sign-in says what it is for; that it has become a factor is told in a second one."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        reader = Reader(service, database)
        await _chooser(service)
        _, code, added, authenticator = await reader.new()
        digits = paragraphs_of_text(code)[0].removeprefix("Your verification code is ")
        assert paragraphs_of_text(code) == [
            f"Your verification code is {digits}",
            "It completes your sign-in to the account ada and is valid until 2030-01-15 12:03 UTC. Never tell it to "
            "anyone, whoever asks.",
            "If you are not signing in right now, somebody else knows your password: change it. Without this code they "
            "do not get in.",
        ]
        assert HtmlPage(code).emphasised == [digits]
        assert paragraphs_of_text(added)[0].startswith("The second factors that the account ada asks for")
        assert paragraphs_of_text(authenticator)[0].startswith("An authenticator was added to the account ada")


async def test_new_recovery_codes(service: Service, database: Database) -> None:
    """The user reads that there are new recovery codes, and none of them."""
    account, reader = await service.enrolled("ada"), Reader(service, database)
    await reader.new()
    codes = await recovery_codes(service, account.tokens)
    recipient, subject, paragraphs = await reader.one()
    assert (recipient, subject) == (account.email, SUBJECT)
    assert paragraphs[0] == (
        f"New recovery codes were made for the account ada on {NOON}. The former ones no longer work."
    )
    assert not any(code in paragraph for code in codes for paragraph in paragraphs)


async def test_used_recovery_codes(service: Service, database: Database) -> None:
    """The user reads that a recovery code was used, and how many are left; at the last one, what to do."""
    account, reader = await service.enrolled("ada"), Reader(service, database)
    codes = await recovery_codes(service, account.tokens)
    await reader.new()
    rests = []
    for code in codes:
        started = await service.sign_in()
        request = pb.ConfirmSignInRequest(session=started.session, recovery_code=code)
        assert step_of(await service.stub.ConfirmSignIn(request)) == "DONE"
        recipient, subject, (used, rest, if_not_you) = await reader.one()
        assert (recipient, subject) == (account.email, "A recovery code was used")
        assert used == (
            f"A recovery code of the account ada was used in place of the second factor on {NOON}. "
            "It does not work again."
        )
        assert if_not_you == (
            "If it was you, there is nothing else to do. If it was not, someone has your password and your recovery "
            "codes: change your password now and make new recovery codes."
        )
        rests.append(rest)
    assert rests == [
        *(f"{left} recovery codes are left." for left in range(9, 1, -1)),
        "One recovery code is left. Make new ones before you need it.",
        "It was the last one. Make new recovery codes, or you may be locked out without your second factor.",
    ]


async def test_wrong_recovery_code_is_not_told(service: Service, database: Database) -> None:
    """A code that is refused sends no mail."""
    account, reader = await service.enrolled("ada"), Reader(service, database)
    await recovery_codes(service, account.tokens)
    await reader.new()
    started = await service.sign_in()
    async with fails("CODE_MISMATCH"):
        await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=started.session, recovery_code="aaaa-bbbb-cccc-dddd")
        )
    assert await reader.new() == []


async def test_new_address(service: Service, database: Database) -> None:
    """The new address gets a code and reads what for; once it is confirmed the former one reads where mail goes now."""
    account, reader = await service.enrolled("ada"), Reader(service, database)
    await reader.new()
    await set_attributes(service, account.tokens, email="new@example.org")
    recipient, subject, (first, *rest) = await reader.one()
    code = first.removeprefix("Your verification code is ")
    assert (recipient, subject) == ("new@example.org", "Your verification code")
    assert rest == [
        "It confirms that this is the e-mail address of the account ada and is valid until 2030-01-16 12:00 UTC. Never "
        "tell it to anyone, whoever asks.",
        "If this account is not yours, ignore this mail: without the code your address is not used for it.",
    ]
    await confirm_attribute(service, account.tokens, "email", code)
    recipient, subject, (first, if_not_you) = await reader.one()
    assert (recipient, subject) == (account.email, "Your e-mail address was changed")
    assert first == (
        f"On {NOON} the e-mail address of the account ada was changed from this one to n***@e***. "
        "From now on mail about "
        "the account goes there."
    )
    assert if_not_you.startswith(
        "If it was you, there is nothing to do. If it was not, someone else can use your account"
    )


async def test_address_of_somebody_else(service: Service, database: Database) -> None:
    """Who owns an address reads that somebody wants it for another account, which the mail does not name."""
    await service.confirmed("ada")
    eve, reader = await service.enrolled("eve"), Reader(service, database)
    await reader.new()
    await set_attributes(service, eve.tokens, email="ada@example.com")
    recipient, subject, paragraphs = await reader.one()
    assert (recipient, subject) == ("ada@example.com", "Somebody tried to use your address")
    assert "or to add it to another account. It already belongs to your account ada" in paragraphs[0]
    assert "eve" not in " ".join(paragraphs)


async def test_language_of_the_account(run: Run, database: Database) -> None:
    """Codes and notices are in the language of the account; a stranger's sign-up with its address too."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        reader = Reader(service, database)
        attributes = {"email": "ada@example.com", "locale": "de-AT"}
        await service.stub.SignUp(pb.SignUpRequest(username="ada", password=PASSWORD, attributes=attributes))
        code = await service.code("ada@example.com")
        await service.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username="ada", confirmation_code=code))
        tokens = (await service.sign_in()).tokens
        await update(service, tokens, PASSWORD)
        stranger = {"email": "ADA@example.com", "locale": "fr"}
        await service.stub.SignUp(pb.SignUpRequest(username="eve", password=PASSWORD, attributes=stranger))
        assert sorted(mail["Subject"] for mail in await reader.new()) == [
            "Ihr Bestätigungscode",
            "Ihr Passwort wurde geändert",
            "Jemand wollte Ihre Adresse verwenden",
        ]
