"""Settings of second factors that change while accounts are there: what their next sign-in leads to."""

from __future__ import annotations

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_PREFERRED
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_SMS, MFA_TYPE_TOTP
from tests.rpc.calls import answer, answer_mail, choose, fetch, refresh, step_of
from tests.rpc.conftest import Run
from tests.service import bearer, fails

SETUP = "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
SETUP_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
BY_TOTP = "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
BY_EMAIL = "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
ADDRESS = "ada@example.com"
WITH_MFA = ["pwd", "otp", "mfa"]


async def test_turning_mfa_on_leads_existing_users_through_set_up(run: Run) -> None:
    """From OFF to REQUIRED: the next sign-in sets an authenticator up and signs in, the one after asks for its code."""
    async with run(accounts={"mfa": "OFF"}) as service:
        await service.confirmed("ada")
        before = (await service.sign_in()).tokens
        assert (await fetch(service, before)).amr == ["pwd"]

    async with run(accounts={"mfa": "REQUIRED"}) as service:
        # Who is signed in stays so, without a second factor to show for it.
        assert (await fetch(service, await refresh(service, before.refresh_token))).amr == ["pwd"]
        started = await service.sign_in()
        assert step_of(started) == SETUP
        secret = started.next_step.totp_setup.shared_secret
        done = await answer(service, started.session, service.totp(secret))
        assert (await fetch(service, done.tokens)).amr == WITH_MFA

        service.next_totp_step()
        again = await service.sign_in()
        assert step_of(again) == BY_TOTP
        assert (
            await fetch(service, (await answer(service, again.session, service.totp(secret))).tokens)
        ).amr == WITH_MFA


async def test_turning_mfa_on_with_several_kinds_lets_existing_users_choose(run: Run) -> None:
    """From OFF to REQUIRED with several kinds: users choose which to set up, of those that the account can have."""
    async with run(accounts={"mfa": "OFF"}) as service:
        await service.confirmed("ada")

    async with run(accounts={"mfa": "REQUIRED", "mfa_types": ("TOTP", "SMS", "EMAIL")}) as service:
        started = await service.sign_in()
        assert step_of(started) == SETUP_SELECTION
        assert list(started.next_step.allowed_mfa_types) == [MFA_TYPE_TOTP, MFA_TYPE_EMAIL]
        mails = service.catcher.last_number()
        chosen = await choose(service, started.session, MFA_TYPE_EMAIL)
        assert step_of(chosen) == BY_EMAIL
        done = await answer_mail(service, chosen.session, ADDRESS, after=mails)
        assert (await fetch(service, done.tokens)).amr == ["pwd", "email", "mfa"]
        assert step_of(await service.sign_in()) == BY_EMAIL


async def test_allowing_further_kinds_asks_nobody_for_more(run: Run) -> None:
    """Once more kinds are allowed, who has one is asked for it as before; who has none chooses what to set up."""
    async with run() as service:
        account = await service.enrolled("ada")
        await service.confirmed("grace")
        assert step_of(await service.sign_in("grace")) == SETUP

    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        service.next_totp_step()
        started = await service.sign_in("ada")
        assert step_of(started) == BY_TOTP
        done = await answer(service, started.session, service.totp(account.secret))
        assert done.is_signed_in

        undecided = await service.sign_in("grace")
        assert step_of(undecided) == SETUP_SELECTION
        assert list(undecided.next_step.allowed_mfa_types) == [MFA_TYPE_TOTP, MFA_TYPE_EMAIL]

        # A signed-in user may take up what has come since.
        request = pb.UpdateMfaPreferenceRequest(email=MFA_PREFERENCE_PREFERRED)
        await service.stub.UpdateMfaPreference(request, metadata=bearer(done.tokens))
        assert step_of(await service.sign_in("ada")) == BY_EMAIL


@pytest.mark.parametrize("has_both", [True, False], ids=["with another", "with no other"])
async def test_disallowing_a_kind_leaves_users_their_others(run: Run, has_both: bool) -> None:
    """A kind that is allowed no longer is not asked for: users prove another they have, or set an allowed one up."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        await service.confirmed("ada")
        started = await service.sign_in()
        mails = service.catcher.last_number()
        chosen = await choose(service, started.session, MFA_TYPE_EMAIL)
        done = await answer_mail(service, chosen.session, ADDRESS, after=mails)
        secret = ""
        if has_both:
            added = await service.stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=bearer(done.tokens))
            secret = added.shared_secret
            proof = pb.VerifyTotpRequest(session=added.session, totp_code=service.totp(secret))
            await service.stub.VerifyTotp(proof, metadata=bearer(done.tokens))
            preferred = pb.UpdateMfaPreferenceRequest(email=MFA_PREFERENCE_PREFERRED)
            await service.stub.UpdateMfaPreference(preferred, metadata=bearer(done.tokens))
        assert step_of(await service.sign_in()) == BY_EMAIL

    async with run(accounts={"mfa_types": ("TOTP",)}) as service:
        service.next_totp_step()
        asked = await service.sign_in()
        assert step_of(asked) == (BY_TOTP if has_both else SETUP)
        secret = secret or asked.next_step.totp_setup.shared_secret
        assert (await answer(service, asked.session, service.totp(secret))).is_signed_in


async def test_a_choice_is_of_the_settings_at_its_end(run: Run) -> None:
    """A kind that was offered and is allowed no longer when it is chosen is not set up."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        await service.confirmed("ada")
        started = await service.sign_in()
        assert step_of(started) == SETUP_SELECTION

    async with run(accounts={"mfa_types": ("TOTP", "SMS")}) as service:
        for kind in (MFA_TYPE_EMAIL, MFA_TYPE_SMS):
            async with fails("INVALID_FIELDS"):
                await choose(service, started.session, kind)
        assert step_of(await choose(service, started.session, MFA_TYPE_TOTP)) == SETUP
