"""UpdateUserAttributes: attributes that operators set are in use at once, and what went to former ones ends."""

from __future__ import annotations

from typing import Any

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as auth
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_PREFERRED
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_UNSPECIFIED
from tests.admin.operator import Operator
from tests.rpc.calls import NEW_PASSWORD, answer, confirm, confirm_reset, is_live, reset, reset_code
from tests.rpc.conftest import Run
from tests.service import Service, bearer, fails

NEW = "countess@example.org"


async def test_attributes_are_in_use_at_once(service: Service, operator: Operator) -> None:
    """What is set is there, what is removed is gone, the rest stays as it was, and nobody is signed out."""
    ada = await service.enrolled()
    await operator.update(attributes={"name": "Ada", "locale": "en-GB"})
    seen = await operator.update(attributes={"name": "Ada L."}, remove_attributes=["locale", "nickname"])
    assert dict(seen.attributes) == {"email": ada.email, "name": "Ada L."}
    assert seen.email_verified
    assert seen.HasField("updated_at")
    assert seen == await operator.get()
    assert await is_live(service, ada.tokens)


async def test_a_new_address_is_as_verified_as_the_operator_says(service: Service, operator: Operator) -> None:
    """A new address is unverified unless the operator says otherwise; the same one in other letters stays verified."""
    await service.enrolled()
    assert (await operator.update(attributes={"email": "ADA@example.com"})).email_verified
    assert not (await operator.update(attributes={"email": NEW})).email_verified
    assert (await operator.update(email_verified=True)).email_verified
    assert (await operator.update(attributes={"name": "Ada"})).email_verified
    assert not (await operator.update(email_verified=False)).email_verified
    both = {"email": "ada@example.net", "phone_number": "+14155550123"}
    seen = await operator.update(attributes=both, email_verified=True, phone_number_verified=True)
    assert (seen.email_verified, seen.phone_number_verified) == (True, True)
    assert not (await operator.update(attributes={"phone_number": "+14155550124"})).phone_number_verified


async def test_the_trail_tells_what_an_operator_vouched_for(
    service: Service, operator: Operator, database: Database
) -> None:
    """Names of changed attributes are recorded without values, and an operator's word that an address is verified."""
    await operator.create("bob", email_verified=True)
    await operator.update("bob", attributes={"name": "Bob"}, remove_attributes=["locale"])
    await operator.update("bob", email_verified=False)
    await operator.update("bob", attributes={"phone_number": "+14155550123"}, phone_number_verified=True)
    of_bob = "select array_agg(details - 'scope' order by sequence) from audit_events where user_id is not null"
    assert await database.fetchval(of_bob) == [
        {"email_verified": "true"},
        {"attributes": "locale name"},
        {"attributes": "", "email_verified": "false"},
        {"attributes": "phone_number", "phone_number_verified": "true"},
    ]


async def test_a_verified_address_is_one_accounts_alone(service: Service, operator: Operator) -> None:
    """An address that another account has verified can't be verified here; nothing is changed by the attempt."""
    await service.confirmed("ada")
    await service.confirmed("bob")
    async with fails("EMAIL_EXISTS"):
        await operator.update("bob", attributes={"email": "Ada@example.com", "name": "Bob"}, email_verified=True)
    assert dict((await operator.get("bob")).attributes) == {"email": "bob@example.com"}
    assert not (await operator.update("bob", attributes={"email": "ada@example.com"})).email_verified
    async with fails("EMAIL_EXISTS"):
        await operator.update("bob", email_verified=True)


async def test_a_reset_code_ends_with_the_address_it_went_to(service: Service, operator: Operator) -> None:
    """Who reads the mail of a replaced address sets no password with a code that went there before."""
    ada = await service.enrolled()
    code = await reset_code(service, ada)
    await operator.update(attributes={"email": NEW}, email_verified=True)
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", code)
    await reset(service, "ada")
    await confirm_reset(service, "ada", await service.code(NEW), NEW_PASSWORD)


async def test_a_sign_up_code_verifies_no_other_address(service: Service, operator: Operator) -> None:
    """The code of an unconfirmed account ends when an operator corrects its address; the next goes to the new one."""
    await service.sign_up("ada")
    code = await service.code("ada@example.com")
    await operator.update(attributes={"email": NEW})
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", code)
    await service.stub.ResendSignUpCode(auth.ResendSignUpCodeRequest(username="ada"))
    await confirm(service, "ada", await service.code(NEW))
    assert (await operator.get()).email_verified


async def test_a_half_done_sign_in_ends_with_a_changed_address(service: Service, operator: Operator) -> None:
    """A sign-in that may wait for a code on its way to a former address can't be finished; other changes end none."""
    ada = await service.enrolled()
    service.next_totp_step()
    started = await service.sign_in()
    await operator.update(attributes={"name": "Ada"})
    assert (await answer(service, started.session, service.totp(ada.secret))).is_signed_in
    service.next_totp_step()
    started = await service.sign_in()
    await operator.update(attributes={"email": NEW})
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(ada.secret))


async def test_a_pending_address_gives_way(service: Service, operator: Operator) -> None:
    """An address that waits for its code is dropped when an operator sets one."""
    ada = await service.enrolled()
    before = service.catcher.last_number()
    await service.stub.UpdateUserAttributes(
        auth.UpdateUserAttributesRequest(attributes={"email": "mine@example.com"}), metadata=ada.bearer
    )
    code = await service.code("mine@example.com", after=before)
    await operator.update(attributes={"email": NEW}, email_verified=True)
    # Without an address that waits there is nothing to confirm.
    async with fails("CODE_EXPIRED"):
        await service.stub.ConfirmUserAttribute(
            auth.ConfirmUserAttributeRequest(name="email", confirmation_code=code), metadata=ada.bearer
        )
    assert (await operator.get()).attributes["email"] == NEW


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"attributes": {"email": "nonsense"}}, ('attributes["email"]', "EMAIL")),
        ({"attributes": {"shoe_size": "9"}}, ("attributes", "UNKNOWN")),
        ({"remove_attributes": ["shoe_size"]}, ("remove_attributes", "UNKNOWN")),
        ({"attributes": {"name": "A"}, "remove_attributes": ["name"]}, ("remove_attributes", "CONTRADICTION")),
        ({"remove_attributes": ["email"], "email_verified": True}, ("email_verified", "MISSING")),
        ({"phone_number_verified": True}, ("phone_number_verified", "MISSING")),
        ({"remove_attributes": [f"name-{number}" for number in range(101)]}, ("remove_attributes", "COUNT")),
    ],
)
async def test_what_cannot_be_changed_is_told(
    service: Service, operator: Operator, fields: dict[str, Any], violation: tuple[str, str]
) -> None:
    """A change that breaks a rule is refused as a whole."""
    await service.confirmed("ada")
    before = await operator.get()
    async with fails("INVALID_FIELDS") as failures:
        await operator.update(**fields)
    assert failures[0].violations == [violation]
    assert await operator.get() == before


async def test_required_attributes_stay_and_undeclared_writers_are_operators(run: Run, key: str) -> None:
    """Operators write custom attributes that users may not, and remove no required one."""
    custom = {"custom:team": {"user_may_write": False}}
    async with run(accounts={"required_attributes": ("name",)}, attributes={"custom": custom}) as service:
        operator = Operator(service.channel, key)
        await operator.create(attributes={"email": "ada@example.com", "name": "Ada", "custom:team": "blue"})
        assert (await operator.update(attributes={"custom:team": "red"})).attributes["custom:team"] == "red"
        async with fails("INVALID_FIELDS") as failures:
            await operator.update(remove_attributes=["name"])
        assert failures[0].violations == [("remove_attributes", "REQUIRED")]
        assert "custom:team" not in (await operator.update(remove_attributes=["custom:team"])).attributes


async def test_a_removed_factor_is_no_factor(run: Run, key: str) -> None:
    """With its address a second factor by e-mail goes, and does not come back with another address."""
    async with run(accounts={"mfa": "OPTIONAL", "mfa_types": ("TOTP", "EMAIL")}) as service:
        operator = Operator(service.channel, key)
        await service.confirmed("ada")
        signed_in = await service.sign_in()
        preferred = auth.UpdateMfaPreferenceRequest(email=MFA_PREFERENCE_PREFERRED)
        await service.stub.UpdateMfaPreference(preferred, metadata=bearer(signed_in.tokens))
        seen = await operator.get()
        assert (list(seen.mfa_enabled), seen.mfa_preferred) == ([MFA_TYPE_EMAIL], MFA_TYPE_EMAIL)
        for change in ({"remove_attributes": ["email"]}, {"attributes": {"email": NEW}, "email_verified": True}):
            seen = await operator.update(**change)
            assert (list(seen.mfa_enabled), seen.mfa_preferred) == ([], MFA_TYPE_UNSPECIFIED)
