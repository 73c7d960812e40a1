"""The audit trail as operators read it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2
from authsvc.v1.auth_event_pb2 import AuthEventKind
from tests.admin.operator import Operator
from tests.service import Account, Service, bearer, fails
from tests.signing_keys import signing_keys_of


async def page(operator: Operator, **fields: Any) -> pb.AdminServiceListAuthEventsResponse:
    """Ask for a page of events."""
    response: pb.AdminServiceListAuthEventsResponse = await operator.call(
        "ListAuthEvents", pb.AdminServiceListAuthEventsRequest(**fields)
    )
    return response


def kinds(answered: pb.AdminServiceListAuthEventsResponse) -> list[str]:
    """Return the kinds of the events of a page."""
    return [AuthEventKind.Name(event.kind).removeprefix("AUTH_EVENT_KIND_") for event in answered.events]


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with an authenticator."""
    return await service.enrolled("ada")


async def test_operators_see_who_of_them_did_what(service: Service, operator: Operator, ada: Account) -> None:
    """What an operator did to a user is listed with the operator's name; the user is told only that it was one."""
    await operator.call("UnlockUser", pb.UnlockUserRequest(username="ada"))
    latest, *_ = (await page(operator, username="ADA")).events
    assert AuthEventKind.Name(latest.kind) == "AUTH_EVENT_KIND_ADMIN_UNLOCK_USER"
    assert (latest.user_id, latest.username) == (ada.user_id, "ada")
    assert latest.actor.startswith("operator:")
    own = await service.stub.ListAuthEvents(auth_service_pb2.ListAuthEventsRequest(), metadata=ada.bearer)
    assert (own.events[0].event_id, own.events[0].actor) == (latest.event_id, "operator")


async def test_users_are_not_told_where_operators_are(run_trusting: Service, key: str) -> None:
    """Address and agent of an operator are for operators; the user's own are the user's to see."""
    service = run_trusting
    ada = await service.enrolled()
    operator = Operator(service.channel, key)
    operator.metadata += [("authsvc-client-ip", "192.0.2.99"), ("authsvc-client-user-agent", "console")]
    await operator.call("UnlockUser", pb.UnlockUserRequest(username="ada"))
    (latest,) = (await page(operator, username="ada", page_size=1)).events
    assert (latest.client_ip, latest.client_user_agent) == ("192.0.2.99", "console")
    theirs = [("authsvc-client-ip", "192.0.2.7"), ("authsvc-client-user-agent", "a browser")]
    await service.stub.SignOut(auth_service_pb2.SignOutRequest(), metadata=[*ada.bearer, *theirs])
    again = await service.sign_in_fully(ada)
    own = await service.stub.ListAuthEvents(auth_service_pb2.ListAuthEventsRequest(), metadata=bearer(again))
    seen = {(event.actor, event.client_ip, event.client_user_agent) for event in own.events}
    assert ("operator", "", "") in seen
    assert ("user", "192.0.2.7", "a browser") in seen
    assert not any("192.0.2.99" in each or "console" in each for each in seen)


async def test_operators_see_everybody_s_events(service: Service, operator: Operator, ada: Account) -> None:
    """Without a user the events of all, and of names that nobody has, are listed by time, page by page."""
    for _ in range(3):
        service.next_totp_step()
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("nobody")
    service.next_totp_step()
    await service.sign_in("ada")
    first = await page(operator, page_size=3)
    assert kinds(first) == ["CONTINUE_SIGN_IN", "SIGN_IN", "SIGN_IN"]
    assert [event.user_id for event in first.events] == [ada.user_id, "", ""]
    seen = list(first.events)
    token = first.next_page_token
    while token:
        answered = await page(operator, page_size=3, page_token=token)
        seen += answered.events
        token = answered.next_page_token
    whole = (await page(operator, page_size=100)).events
    assert [event.event_id for event in seen] == [event.event_id for event in whole]
    assert len({event.event_id for event in whole}) == len(whole) > 6
    times = [event.created_at.ToNanoseconds() for event in whole]
    assert times == sorted(times, reverse=True)


async def test_deleted_user_s_events_are_found_by_id(operator: Operator, ada: Account) -> None:
    """After a deletion the name leads nowhere; under the id stands what happened, without anything personal."""
    await operator.call("DeleteUser", pb.AdminServiceDeleteUserRequest(username="ada"))
    async with fails("USER_NOT_FOUND"):
        await page(operator, username="ada")
    found = await page(operator, user_id=ada.user_id)
    assert kinds(found)[0] == "ADMIN_DELETE_USER"
    assert kinds(found)[-1] == "SIGN_UP"
    assert {(event.username, event.client_ip, event.client_user_agent) for event in found.events} == {("", "", "")}
    assert (await page(operator, user_id=str(uuid4()))).events == []


async def test_page_token_is_of_one_list(operator: Operator, ada: Account) -> None:
    """The token of a user's list is no good for everybody's, nor the other way round."""
    of_ada = (await page(operator, username="ada", page_size=1)).next_page_token
    of_all = (await page(operator, page_size=1)).next_page_token
    for fields in ({"page_token": of_ada}, {"username": "ada", "page_token": of_all}):
        async with fails("INVALID_FIELDS"):
            await page(operator, **fields)


async def test_new_signing_key_is_recorded(
    service: Service, operator: Operator, database: Database, ring: KeyRing
) -> None:
    """Who looks at the trail sees when a signing key was made, and which."""
    service.next_totp_step()
    row = await signing_keys_of(database, ring, service.settings.tokens, service.clock).rotate(immediately=True)
    latest, *_ = (await page(operator)).events
    assert AuthEventKind.Name(latest.kind) == "AUTH_EVENT_KIND_ROTATE_SIGNING_KEY"
    assert (latest.actor, dict(latest.details)) == ("system", {"kid": row.kid, "others_end": "AT_ONCE"})
