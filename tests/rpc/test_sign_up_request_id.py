"""Sign-ups that are sent again: one account, one mail, one answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.attribute_calls import confirm_attribute, set_attributes
from tests.rpc.calls import confirm
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

REQUEST_ID = "7f0c3f0e-9f1d-4b54-8a5e-2d6f0a1b9c33"


async def sign_up(
    service: Service, username: str = "ada", *, request_id: str = REQUEST_ID, password: str = PASSWORD
) -> pb.SignUpResponse:
    """Ask for an account with a request id."""
    return await service.stub.SignUp(
        pb.SignUpRequest(
            username=username,
            password=password,
            attributes={"email": "ada@example.com"},
            request_id=request_id,
        )
    )


async def mails(service: Service) -> int:
    """Count the mails that were sent to ada before one that is sent now."""
    before = len(service.catcher.messages())
    await service.sign_up("bystander")
    await service.code("bystander@example.com")
    return before


async def test_retry_gets_the_same_answer_and_no_second_mail(service: Service) -> None:
    """A sign-up that is sent again is answered like the first, before its confirmation and after it."""
    first = await sign_up(service)
    code = await service.code("ada@example.com")
    assert await sign_up(service) == first
    await confirm(service, "ada", code)
    assert await sign_up(service) == first
    assert await mails(service) == 1


async def test_retry_is_not_told_a_later_address(run: Run) -> None:
    """The answer is still the first one, where the account has another address by now."""
    async with run(accounts={"mfa": "OFF"}) as service:
        first = await sign_up(service)
        await confirm(service, "ada", await service.code("ada@example.com"))
        tokens = (await service.sign_in()).tokens
        await set_attributes(service, tokens, email="lovelace@example.org")
        await confirm_attribute(service, tokens, "email", await service.code("lovelace@example.org"))
        assert await sign_up(service) == first


async def test_retry_with_another_password_changes_nothing(service: Service) -> None:
    """The account keeps the password of the first call."""
    first = await sign_up(service)
    await confirm(service, "ada", await service.code("ada@example.com"))
    assert await sign_up(service, password="Another-8-trumpets-rise") == first
    assert (await service.sign_in()).session
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(password="Another-8-trumpets-rise")


async def test_sign_ups_at_once_with_one_id_make_one_account(service: Service, database: Database) -> None:
    """Whichever is first makes the account and sends the mail; all are answered alike."""
    answers = await asyncio.gather(*(sign_up(service) for _ in range(12)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await database.fetchval("select count(*) from users") == 1
    await service.code("ada@example.com")
    assert await mails(service) == 1


async def test_id_of_another_sign_up_is_refused(service: Service) -> None:
    """An id stands for one sign-up: with another username it is a mistake of the caller."""
    await sign_up(service)
    async with fails("INVALID_FIELDS") as failures:
        await sign_up(service, "grace")
    assert failures[0].violations == [("request_id", "USED")]


async def test_another_id_is_another_sign_up(service: Service) -> None:
    """Without the id, or with another one, a repeat finds the name taken."""
    await sign_up(service)
    for request_id in ("", "another-request-id"):
        async with fails("USERNAME_EXISTS"):
            await sign_up(service, request_id=request_id)


async def test_malformed_id_is_told_beside_the_other_fields(service: Service) -> None:
    """An id is 16 to 64 plain characters."""
    for request_id in ("x" * 15, "x" * 65, "x" * 15 + " ", "x" * 15 + "ü"):
        async with fails("INVALID_FIELDS") as failures:
            await sign_up(service, "", request_id=request_id)
        assert failures[0].violations == [("username", "REQUIRED"), ("request_id", "REQUEST_ID")]
    for request_id in ("x" * 16, "y" * 64):
        await sign_up(service, request_id[0], request_id=request_id)


async def test_id_is_free_again_with_the_name(service: Service) -> None:
    """Once an unconfirmed account has made place for another sign-up, its id stands for nothing."""
    first = await sign_up(service)
    service.clock.advance(timedelta(hours=25))
    await service.stub.SignUp(
        pb.SignUpRequest(username="ada", password=PASSWORD, attributes={"email": "other@example.com"})
    )
    async with fails("USERNAME_EXISTS"):
        await sign_up(service)
    assert first.user_id
