"""Methods that wait for a password hash say so: a call whose deadline is too near for one is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.hashing import is_waiting_for_hash
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2 as auth
from tests.admin.operator import TEMPORARY, Operator
from tests.hash_places import SERVICERS, undeclared
from tests.rpc.calls import NEW_PASSWORD
from tests.service import PASSWORD, Service, bearer, fails

CODE = "123456"


async def test_every_declared_method_takes_a_place(
    service: Service, operator: Operator, hash_places: dict[str, Callable[..., Any]]
) -> None:
    """The methods that are declared are those that take a place in the hash queue."""
    account = await service.enrolled()
    await operator.create("bob", temporary_password=TEMPORARY, suppress_invitation=True)
    started = await service.sign_in("bob", password=TEMPORARY)
    await service.stub.ConfirmSignIn(auth.ConfirmSignInRequest(session=started.session, new_password=NEW_PASSWORD))
    await operator.create("eve")
    await operator.call("ResendInvitation", pb.ResendInvitationRequest(username="eve"))
    await operator.call("SetUserPassword", pb.SetUserPasswordRequest(username="eve", password=PASSWORD))
    proof = auth.ReauthenticateRequest(password=PASSWORD)
    tokens = (await service.stub.Reauthenticate(proof, metadata=account.bearer)).tokens
    change = auth.UpdatePasswordRequest(previous_password=PASSWORD, proposed_password=NEW_PASSWORD)
    await service.stub.UpdatePassword(change, metadata=bearer(tokens))
    async with fails("CODE_EXPIRED"):
        await service.stub.ConfirmResetPassword(
            auth.ConfirmResetPasswordRequest(username="ada", confirmation_code=CODE, new_password=PASSWORD)
        )
    every = [getattr(servicer, name) for servicer in SERVICERS for name in dir(servicer)]
    declared = {method.__qualname__ for method in every if is_waiting_for_hash(method)}
    assert hash_places.keys() == declared


def test_a_method_that_is_not_declared_is_found() -> None:
    """What every test checks of the methods that took a place can fail."""
    methods: dict[str, Callable[..., Any]] = {"SignIn": AuthServicer.SignIn, "SignOut": AuthServicer.SignOut}
    assert undeclared(methods) == ["SignOut"]
