"""Codes that verify addresses: what was never sent, and what is guessed at one address by way of many accounts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.attribute_calls import NUMBER, confirm_attribute, set_attributes
from tests.rpc.calls import confirm, confirm_reset, recipients, resend, reset, reset_code, settle, step_of
from tests.rpc.conftest import Run, run
from tests.service import PASSWORD, Service, fails

__all__ = ["run"]

GUESSED = "24681357"
WRONG = "13572468"
VICTIM = "eve@example.com"
DAY = timedelta(days=1)


@pytest.fixture
def guessed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Have every code be one that a stranger guesses at the first try."""
    for module in ("authsvc.core.messages.codes", "authsvc.core.factors.sent_code"):
        monkeypatch.setattr(f"{module}.new_code", lambda _digits: GUESSED)
    return GUESSED


async def sign_up(service: Service, username: str, email: str = VICTIM) -> None:
    """Ask for an account with somebody's address."""
    await service.sign_up(username, email=email)


async def test_sign_up_whose_mail_is_withheld(run: Run, database: Database, guessed: str) -> None:
    """NIST SP 800-63B-4 section 3.1.3, ASVS 5 V6.6.2: a code that was never mailed confirms nothing, guessed or not."""
    async with run(codes={"sends_to_address_per_hour": 2}) as service:
        for username in ("ada", "bob", "cyd"):
            await sign_up(service, username)
        assert recipients(await settle(service, database)) == [VICTIM] * 2
        async with fails("CODE_MISMATCH"):
            await confirm(service, "cyd", guessed)
        # Sent again, in vain again.
        assert await resend(service, "cyd") == await resend(service, "bob")
        async with fails("CODE_MISMATCH"):
            await confirm(service, "cyd", guessed)
        # The one that was sent before was replaced, as ever.
        async with fails("CODE_EXPIRED"):
            await confirm(service, "bob", guessed)
        await confirm(service, "ada", guessed)


async def test_code_for_a_taken_address(service: Service, database: Database, guessed: str) -> None:
    """ASVS 5 V6.6.2: of a taken address its owner is told, and no code was sent that could be right."""
    await sign_up(service, "ada")
    await confirm(service, "ada", guessed)
    await sign_up(service, "bob")
    async with fails("CODE_MISMATCH"):
        await confirm(service, "bob", guessed)
    # Nor for nobody, nor for whom no reset is sent to.
    for username in ("nobody", "bob"):
        await reset(service, username)
        async with fails("CODE_MISMATCH"):
            await confirm_reset(service, username, guessed)


async def test_attribute_code_that_is_withheld(run: Run, guessed: str) -> None:
    """ASVS 5 V6.6.2: an address or number of a user's own is not verified by a code that was never sent to it."""
    async with run(codes={"sends_to_address_per_hour": 1}) as service:
        ada, bob = await service.enrolled("ada"), await service.enrolled("bob")
        for name, value in (("email", VICTIM), ("phone_number", NUMBER)):
            assert await set_attributes(service, bob.tokens, **{name: value}) == await set_attributes(
                service, ada.tokens, **{name: value}
            )
            async with fails("CODE_MISMATCH"):
                await confirm_attribute(service, ada.tokens, name, guessed)
            await confirm_attribute(service, bob.tokens, name, guessed)


async def test_sign_in_code_that_is_withheld(run: Run, guessed: str) -> None:
    """ASVS 5 V6.6.2: a number is made no second factor, and is not verified, by a code that was never sent to it."""
    async with run(accounts={"mfa_types": ("SMS",)}, codes={"sends_to_address_per_hour": 1}) as service:
        sessions = []
        for username in ("ada", "bob"):
            attributes = {"email": f"{username}@example.com", "phone_number": NUMBER}
            await service.stub.SignUp(pb.SignUpRequest(username=username, password=PASSWORD, attributes=attributes))
            await confirm(service, username, guessed)
            sessions.append((await service.sign_in(username)).session)
        sent, withheld = sessions
        async with fails("CODE_MISMATCH"):
            await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=withheld, sms_code=guessed))
        service.clock.advance(timedelta(seconds=30))
        await service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=withheld))
        async with fails("CODE_MISMATCH"):
            await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=withheld, sms_code=guessed))
        done = await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=sent, sms_code=guessed))
        assert step_of(done) == "DONE"


async def test_guesses_at_one_address_by_many_accounts(run: Run, database: Database) -> None:
    """NIST SP 800-63B-4 section 3.2.2: guesses at an address are bounded in all; beyond that none is right.

    Nothing says so: by username, that would tell whose address it is. A day later its owner's code is right again, and
    those of other addresses were all the time.
    """
    async with run(codes={"wrong_at_address_per_day": 20, "sends_to_address_per_hour": 100}) as service:
        before = service.catcher.last_number()
        await sign_up(service, "owner")
        owners = await service.code(VICTIM, after=before)
        for number in range(5):
            await sign_up(service, f"stranger-{number}")
            for _ in range(4):
                async with fails("CODE_MISMATCH"):
                    await confirm(service, f"stranger-{number}", WRONG)
        async with fails("CODE_MISMATCH"):
            await confirm(service, "owner", owners)
        await service.confirmed("bob")
        service.clock.advance(DAY - timedelta(seconds=1))
        await resend(service, "owner")
        mail = (await settle(service, database))[-1]
        assert mail["Delivered-To"] == VICTIM
        service.clock.advance(timedelta(seconds=1))
        await confirm(service, "owner", await service.code(VICTIM, after=service.catcher.last_number() - 1))


async def test_guesses_where_nothing_was_sent(run: Run) -> None:
    """ASVS 5 V6.3.8, V6.6.3: a stranger can't use an address's tries up by accounts whose codes were not sent to it."""
    codes = {"wrong_at_address_per_day": 20, "sends_to_address_per_hour": 1}
    async with run(accounts={"sign_in_by_email": True}, codes=codes) as service:
        await sign_up(service, "owner")
        code = await service.code(VICTIM)
        for number in range(6):
            await sign_up(service, f"stranger-{number}")
            for _ in range(4):
                async with fails("CODE_MISMATCH"):
                    await confirm(service, f"stranger-{number}", WRONG)
        await confirm(service, "owner", code)


async def test_right_code_has_wrong_ones_forgotten(run: Run, database: Database) -> None:
    """NIST SP 800-63B-4 section 3.2.2: tries in a row are counted, so whoever gives a right code has them all again."""
    async with run(codes={"wrong_at_address_per_day": 20}) as service:
        await sign_up(service, "ada")
        code = await service.code(VICTIM)
        async with fails("CODE_MISMATCH"):
            await confirm(service, "ada", WRONG)
        await confirm(service, "ada", code)
        assert await database.fetchval("select count(*) from rate_windows where action = 'TRY_AT'") == 0


async def test_code_of_before_an_upgrade(run: Run, database: Database) -> None:
    """A mail with six digits, sent by a server of the former release, stays good after the upgrade."""
    async with run(codes={"sign_up_digits": 6}) as service:
        await sign_up(service, "ada")
        code = await service.code(VICTIM)
        assert len(code) == 6
    await database.execute("update codes set sent_to = null")
    async with run() as service:
        await confirm(service, "ada", code)


async def test_reset_code_as_the_password(service: Service) -> None:
    """ASVS 5 V6.4.2, V6.2.11: whoever types the code again where the password goes is refused, and can still use it."""
    ada = await service.enrolled("ada")
    code = await reset_code(service, ada)
    for typed in (code, f"{code[:4]} {code[4:]}"):
        async with fails("INVALID_PASSWORD") as failures:
            await confirm_reset(service, "ada", code, typed)
        assert ("new_password", "OWN_WORDS") in failures[0].violations
    await confirm_reset(service, "ada", code)
