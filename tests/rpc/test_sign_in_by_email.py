"""Sign-in by e-mail address, where the settings allow it."""

from __future__ import annotations

import jwt

from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.calls import NEW_PASSWORD, confirm, resend, reset, step_of, wrong
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

BY_EMAIL = {"sign_in_by_email": True, "mfa": "OFF"}
ADDRESS = "ada@example.com"


async def sign_up_by_email(service: Service, address: str = ADDRESS) -> pb.SignUpResponse:
    """Ask for an account that is known by its address alone."""
    return await service.stub.SignUp(pb.SignUpRequest(username=address, password=PASSWORD))


async def test_verified_address_stands_for_the_username(run: Run) -> None:
    """An account with a username can be signed in by its address too, in any letter case."""
    async with run(accounts=BY_EMAIL) as service:
        made = await service.confirmed("ada")
        for login in ("ada", ADDRESS, "ADA@Example.COM"):
            done = await service.sign_in(login)
            assert step_of(done) == "DONE"
            claims = jwt.decode(done.tokens.access_token, options={"verify_signature": False})
            assert (claims["sub"], claims["username"]) == (made.user_id, "ada")


async def test_account_can_be_signed_up_by_its_address_alone(run: Run) -> None:
    """The address serves at every call; the username is the id, so that the address may change."""
    async with run(accounts=BY_EMAIL) as service:
        made = await sign_up_by_email(service)
        assert step_of(await service.sign_in(ADDRESS)) == "CONFIRM_SIGN_UP"
        before = service.catcher.last_number()
        assert await resend(service, ADDRESS) == "a***@e***"
        await confirm(service, ADDRESS, await service.code(ADDRESS, after=before))
        done = await service.sign_in(ADDRESS)
        assert step_of(done) == "DONE"
        claims = jwt.decode(done.tokens.id_token, options={"verify_signature": False})
        assert (claims["sub"], claims["username"], claims["email"]) == (made.user_id, made.user_id, ADDRESS)
        assert step_of(await service.sign_in(made.user_id)) == "DONE"

        before = service.catcher.last_number()
        assert await reset(service, ADDRESS) == "a***@e***"
        code = await service.code(ADDRESS, after=before)
        await service.stub.ConfirmResetPassword(
            pb.ConfirmResetPasswordRequest(username=ADDRESS, confirmation_code=code, new_password=NEW_PASSWORD)
        )
        assert step_of(await service.sign_in(ADDRESS, password=NEW_PASSWORD)) == "DONE"


async def test_mail_and_authenticator_show_the_address_not_the_id(run: Run) -> None:
    """Who signed up by an address is never shown the id that stands for the username."""
    async with run(accounts={"sign_in_by_email": True}) as service:
        made = await sign_up_by_email(service)
        mail = await service.mail(ADDRESS)
        assert made.user_id not in mail.as_string()
        await confirm(service, ADDRESS, await service.code(ADDRESS))
        setup = await service.sign_in(ADDRESS)
        assert setup.next_step.totp_setup.setup_uri.startswith("otpauth://totp/authsvc:ada%40example.com?")


async def test_taken_address_is_answered_like_a_free_one(run: Run) -> None:
    """Signing up by an address tells nobody whether it is taken; its owner is told by mail."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service)
        await confirm(service, ADDRESS, await service.code(ADDRESS))
        before = service.catcher.last_number()
        again = await sign_up_by_email(service)
        free = await sign_up_by_email(service, "grace@example.com")
        assert again.next_step.step == free.next_step.step
        assert again.next_step.code_delivery.destination == "a***@e***"
        told = await service.mail(ADDRESS, after=before)
        assert "already" in told.as_string()
        # The address still stands for the account that has verified it.
        assert step_of(await service.sign_in(ADDRESS)) == "DONE"


async def test_unknown_address_is_answered_like_a_known_one(run: Run) -> None:
    """Sign-in, reset and resend tell nobody which addresses have accounts, whatever the letter case."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service, "Known@Example.com")
        await confirm(service, "known@example.com", await service.code("Known@example.com"))
        for address in ("Known@Example.com", "Kilroy@Example.com"):
            assert await reset(service, address) == "k***@e***"
            assert await resend(service, address) == "k***@e***"
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(address, password="Not-the-password-7")
            async with fails("CODE_MISMATCH"):
                await confirm(service, address, "123456")


async def test_newer_sign_up_by_the_same_address_does_not_take_it(run: Run) -> None:
    """Once an address is verified, later sign-ups by it are nobody's way in."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service)
        code = await service.code(ADDRESS)
        await confirm(service, ADDRESS, code)
        await service.stub.SignUp(pb.SignUpRequest(username=ADDRESS, password=NEW_PASSWORD))
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in(ADDRESS, password=NEW_PASSWORD)
        async with fails("CODE_EXPIRED"):
            await confirm(service, ADDRESS, wrong(code))


async def test_address_and_attribute_must_be_the_same(run: Run) -> None:
    """Nobody signs up by an address that is another one than the account's."""
    async with run(accounts=BY_EMAIL) as service:
        async with fails("INVALID_FIELDS") as failures:
            await service.stub.SignUp(
                pb.SignUpRequest(username=ADDRESS, password=PASSWORD, attributes={"email": "grace@example.com"})
            )
        assert failures[0].violations == [("username", "EMAIL")]
        async with fails("INVALID_FIELDS") as failures:
            await service.sign_in("not@an@address")
        assert failures[0].violations == [("username", "EMAIL")]


async def test_addresses_are_no_usernames_unless_the_settings_say_so(service: Service) -> None:
    """By default `@` is refused wherever a username is asked for."""
    await service.confirmed("ada")
    async with fails("INVALID_FIELDS") as failures:
        await service.sign_in(ADDRESS)
    assert failures[0].violations == [("username", "AT_SIGN")]
