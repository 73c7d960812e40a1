"""Sign-in by e-mail address, where the settings allow it."""

from __future__ import annotations

from datetime import timedelta

import jwt

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.attribute_calls import confirm_attribute, remove_attributes, set_attributes
from tests.rpc.calls import NEW_PASSWORD, confirm, confirm_reset, resend, reset, step_of, wrong
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
    """Once an address is verified, later sign-ups by it are nobody's way in, and answered as where it is free."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service)
        code = await service.code(ADDRESS)
        await confirm(service, ADDRESS, code)
        await service.stub.SignUp(pb.SignUpRequest(username=ADDRESS, password=NEW_PASSWORD))
        assert step_of(await service.sign_in(ADDRESS, password=NEW_PASSWORD)) == "CONFIRM_SIGN_UP"
        async with fails("CODE_MISMATCH"):
            await confirm(service, ADDRESS, wrong(code))


async def contested(service: Service) -> tuple[tuple[str, pb.SignUpResponse], tuple[str, pb.SignUpResponse]]:
    """Sign up by an address, then by the same one as a stranger; return code and answer of each."""
    made = []
    for password in (PASSWORD, NEW_PASSWORD):
        before = service.catcher.last_number()
        answer = await service.stub.SignUp(pb.SignUpRequest(username=ADDRESS, password=password))
        made.append((await service.code(ADDRESS, after=before), answer))
        service.clock.advance(timedelta(minutes=1))
    return made[0], made[1]


async def test_code_of_an_earlier_sign_up_by_the_same_address_is_right(run: Run) -> None:
    """A stranger's later sign-up does not stand before its owner's, whose account is the one that is confirmed."""
    async with run(accounts=BY_EMAIL) as service:
        (code, made), (later_code, later) = await contested(service)
        await confirm(service, ADDRESS, code)
        assert step_of(await service.sign_in(made.user_id)) == "RESET_PASSWORD"
        async with fails("CODE_EXPIRED"):
            await confirm(service, later.user_id, later_code)


async def test_code_of_a_strangers_sign_up_makes_no_strangers_password_good(run: Run) -> None:
    """Who confirms an address by the latest mail keeps out whoever signed up by it: a new password is needed."""
    async with run(accounts=BY_EMAIL) as service:
        _, (code, _) = await contested(service)
        await confirm(service, ADDRESS, code)
        assert step_of(await service.sign_in(ADDRESS, password=NEW_PASSWORD)) == "RESET_PASSWORD"
        before = service.catcher.last_number()
        await reset(service, ADDRESS)
        chosen = "Harbour-6-lanterns-drift"
        await confirm_reset(service, ADDRESS, await service.code(ADDRESS, after=before), chosen)
        assert step_of(await service.sign_in(ADDRESS, password=chosen)) == "DONE"


async def test_sign_up_confirmed_by_its_id_keeps_its_password(run: Run) -> None:
    """By the id in its answer one sign-up is confirmed, whoever else signed up by the address."""
    async with run(accounts=BY_EMAIL) as service:
        (code, made), (later_code, _) = await contested(service)
        async with fails("CODE_MISMATCH"):
            await confirm(service, made.user_id, later_code)
        await confirm(service, made.user_id, code)
        assert step_of(await service.sign_in(ADDRESS)) == "DONE"


async def test_wrong_codes_by_an_address_burn_all_its_codes(run: Run) -> None:
    """Five tries are five tries at each code: more sign-ups by an address give a guesser no more of them."""
    async with run(accounts=BY_EMAIL) as service:
        (code, _), (later_code, later) = await contested(service)
        for _ in range(5):
            async with fails("CODE_MISMATCH"):
                await confirm(service, ADDRESS, "000000" if "000000" not in (code, later_code) else "000001")
            service.clock.advance(timedelta(minutes=15))
        for login, right in ((ADDRESS, code), (ADDRESS, later_code), (later.user_id, later_code)):
            async with fails("CODE_EXPIRED"):
                await confirm(service, login, right)
            service.clock.advance(timedelta(minutes=15))


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


async def test_tries_are_counted_by_what_was_typed(run: Run) -> None:
    """Guesses by the address lock the address alone: else a lock of the name would tell whose address it is."""
    async with run(accounts=BY_EMAIL) as service:
        await service.confirmed("ada")
        for _ in range(5):
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(ADDRESS, password="Not-the-password-7")
        async with fails("LIMIT_EXCEEDED"):
            await service.sign_in(ADDRESS)
        assert step_of(await service.sign_in("ada")) == "DONE"


async def test_unknown_address_is_locked_like_a_known_one(run: Run) -> None:
    """The fifth wrong password locks an address, whether an account has it or not."""
    async with run(accounts=BY_EMAIL) as service:
        for _ in range(5):
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(ADDRESS)
        async with fails("LIMIT_EXCEEDED"):
            await service.sign_in("ADA@example.com")


async def test_new_address_is_the_new_name(run: Run) -> None:
    """After a change of the address its user signs in by the new one, and no more by the former."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service)
        await confirm(service, ADDRESS, await service.code(ADDRESS))
        tokens = (await service.sign_in(ADDRESS)).tokens
        before = service.catcher.last_number()
        await set_attributes(service, tokens, email="new@example.com")
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("new@example.com")
        await confirm_attribute(service, tokens, "email", await service.code("new@example.com", after=before))
        assert step_of(await service.sign_in("new@example.com")) == "DONE"
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in(ADDRESS)


async def test_address_that_is_the_name_stays(run: Run) -> None:
    """Who signs in by an address can't remove it, even where no address is required."""
    async with run(accounts=BY_EMAIL) as service:
        await sign_up_by_email(service)
        await confirm(service, ADDRESS, await service.code(ADDRESS))
    async with run(accounts={**BY_EMAIL, "confirm_sign_up": False}) as service:
        tokens = (await service.sign_in(ADDRESS)).tokens
        async with fails("INVALID_FIELDS") as failures:
            await remove_attributes(service, tokens, "email")
        assert failures[0].violations == [("names[0]", "SIGN_IN_NAME")]


async def test_sign_up_by_an_address_is_repeated(run: Run, database: Database) -> None:
    """A repeat with the same request id and address gets the same answer and makes no second account."""
    async with run(accounts=BY_EMAIL) as service:
        request = pb.SignUpRequest(username=ADDRESS, password=PASSWORD, request_id="a-request-of-adas")
        first = await service.stub.SignUp(request)
        assert await service.stub.SignUp(request) == first
        assert await database.fetchval("select count(*) from users") == 1
