"""Second factors of distinct kinds: what a recovered password can't be proved with, and what a sign-in sets up."""

from __future__ import annotations

from datetime import timedelta

from authsvc.dev.mailbox import code_in
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DELIVERY_MEDIUM_EMAIL
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_TOTP
from tests.rpc.account_calls import prefer
from tests.rpc.attribute_calls import NUMBER
from tests.rpc.calls import (
    NEW_PASSWORD,
    answer_mail,
    choose,
    confirm,
    confirm_reset,
    recipients,
    reset,
    settle,
    step_of,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

ADDRESS = "ada@example.com"
BOTH = {"mfa_types": ("TOTP", "EMAIL")}


async def set_up_mail(service: Service) -> pb.ConfirmSignInResponse:
    """Make a confirmed account and set its mailbox up as second factor in its first sign-in."""
    await service.confirmed("ada")
    started = await service.sign_in()
    before = service.catcher.last_number()
    chosen = await choose(service, started.session, MFA_TYPE_EMAIL)
    assert step_of(chosen) == "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
    return await answer_mail(service, chosen.session, ADDRESS, after=before)


async def test_what_is_set_up_is_chosen_and_then_asked_for(run: Run) -> None:
    """With nothing enrolled the user chooses what to set up; the code that does so signs in, and so do later ones."""
    async with run(accounts=BOTH) as service:
        await service.confirmed("ada")
        started = await service.sign_in()
        assert step_of(started) == "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
        assert list(started.next_step.allowed_mfa_types) == [MFA_TYPE_TOTP, MFA_TYPE_EMAIL]

        before = service.catcher.last_number()
        chosen = await choose(service, started.session, MFA_TYPE_EMAIL)
        assert step_of(chosen) == "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
        delivery = chosen.next_step.code_delivery
        assert (delivery.destination, delivery.medium, delivery.attribute_name) == (
            "a***@e***",
            DELIVERY_MEDIUM_EMAIL,
            "email",
        )
        done = await answer_mail(service, chosen.session, ADDRESS, after=before)
        assert step_of(done) == "DONE"

        before = service.catcher.last_number()
        again = await service.sign_in()
        assert step_of(again) == "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
        signed_in = await answer_mail(service, again.session, ADDRESS, after=before)
        session = await service.stub.FetchAuthSession(
            pb.FetchAuthSessionRequest(), metadata=[("authorization", f"Bearer {signed_in.tokens.access_token}")]
        )
        assert list(session.amr) == ["pwd", "email", "mfa"]


async def test_mailbox_that_is_the_only_factor_recovers_no_password(run: Run) -> None:
    """Whoever reads the mailbox would have both factors: a reset is answered as ever, and no code is sent."""
    async with run(accounts=BOTH) as service:
        await set_up_mail(service)
        before = service.catcher.last_number()
        assert await reset(service, "ada") == "a***@e***"
        assert (await service.sign_in()).session
        # The sign-in's own code comes after what a reset would have sent.
        await service.code(ADDRESS, after=before)
        codes = [code for mail in service.catcher.messages()[before:] if (code := code_in(mail))]
        assert len(codes) == 1


async def test_mailbox_recovers_the_password_where_mfa_is_off(run: Run) -> None:
    """Turning MFA off leaves nothing to be asked beside the password: the mailbox that was a factor gets the code."""
    async with run(accounts=BOTH) as service:
        await set_up_mail(service)
    async with run(accounts={**BOTH, "mfa": "OFF"}) as service:
        before = service.catcher.last_number()
        assert await reset(service, "ada") == "a***@e***"
        await confirm_reset(service, "ada", await service.code(ADDRESS, after=before))
        assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "DONE"


async def test_password_recovered_by_mail_is_not_proved_by_mail(run: Run) -> None:
    """After a reset by mail the authenticator is asked for, though both are enrolled; once it was proved, either is."""
    async with run(accounts=BOTH) as service:
        await service.confirmed("ada")
        started = await service.sign_in()
        chosen = await choose(service, started.session, MFA_TYPE_TOTP)
        secret = chosen.next_step.totp_setup.shared_secret
        enrolled = await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=chosen.session, totp_code=service.totp(secret))
        )
        await prefer(service, enrolled.tokens, email="ENABLED")
        selecting = await service.sign_in()
        assert step_of(selecting) == "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"

        before = service.catcher.last_number()
        await reset(service, "ada")
        code = await service.code(ADDRESS, after=before)
        await service.stub.ConfirmResetPassword(
            pb.ConfirmResetPasswordRequest(username="ada", confirmation_code=code, new_password=NEW_PASSWORD)
        )
        with_totp = await service.sign_in(password=NEW_PASSWORD)
        assert step_of(with_totp) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
        service.next_totp_step()
        done = await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=with_totp.session, totp_code=service.totp(secret))
        )
        assert step_of(done) == "DONE"
        again = await service.sign_in(password=NEW_PASSWORD)
        assert step_of(again) == "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"
        assert list(again.next_step.allowed_mfa_types) == [MFA_TYPE_TOTP, MFA_TYPE_EMAIL]


async def test_account_that_can_set_nothing_up_is_told_so(run: Run) -> None:
    """Where SMS is required, an account without a phone number can't sign in, and its right password is no failure."""
    async with run(accounts={"mfa_types": ("SMS",)}) as service:
        await service.confirmed("ada")
        for _ in range(7):
            async with fails("MFA_NOT_ENROLLED"):
                await service.sign_in()


async def test_a_number_that_nobody_verified_is_sent_a_few_codes_an_hour(run: Run, database: Database) -> None:
    """However many accounts are made with somebody's number: further ones are answered alike, and it is left alone."""
    cooldown = timedelta(seconds=30)
    async with run(accounts={"mfa_types": ("SMS",)}, codes={"sends_to_address_per_hour": 2}) as service:

        async def sign_in(username: str) -> pb.SignInResponse:
            before = service.catcher.last_number()
            attributes = {"email": f"{username}@example.com", "phone_number": NUMBER}
            await service.stub.SignUp(pb.SignUpRequest(username=username, password=PASSWORD, attributes=attributes))
            await confirm(service, username, await service.code(f"{username}@example.com", after=before))
            return await service.sign_in(username)

        async def sent() -> int:
            return recipients(await settle(service, database)).count(NUMBER)

        first, _, third = [await sign_in(username) for username in ("ada", "bob", "eve")]
        assert third.next_step == first.next_step
        assert await sent() == 2
        service.clock.advance(cooldown)
        await service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=third.session))
        assert await sent() == 2
        code = await service.sms_code(NUMBER)
        done = await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=first.session, sms_code=code))
        assert step_of(done) == "DONE"
        # To its owner a verified number is sent what its own limit allows.
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_SMS_CODE"
        assert await sent() == 3
