"""The main flow, as a calling service sees it."""

from __future__ import annotations

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.sign_in_step_pb2 import SignInStep
from authsvc.v1.sign_up_step_pb2 import SignUpStep
from tests.service import PASSWORD, Service, bearer, fails


async def test_sign_up_to_second_sign_in(service: Service) -> None:
    """A user signs up, confirms by mail, sets TOTP up, is signed in, signs out, and signs in with a code."""
    made = await service.sign_up("Ada", email="ada@example.com")
    assert made.next_step.step == SignUpStep.SIGN_UP_STEP_CONFIRM_SIGN_UP
    assert made.next_step.code_delivery.destination == "a***@e***"

    unconfirmed = await service.sign_in("ada")
    assert unconfirmed.next_step.step == SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_UP
    assert not unconfirmed.session

    code = await service.code("ada@example.com")
    await service.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username="ADA", confirmation_code=code))

    started = await service.sign_in("ada")
    assert started.next_step.step == SignInStep.SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP
    setup = started.next_step.totp_setup
    assert setup.setup_uri == (
        f"otpauth://totp/authsvc:Ada?secret={setup.shared_secret}&issuer=authsvc&algorithm=SHA1&digits=6&period=30"
    )
    done = await service.stub.ConfirmSignIn(
        pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(setup.shared_secret))
    )
    assert done.is_signed_in
    assert done.next_step.step == SignInStep.SIGN_IN_STEP_DONE

    seen = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(done.tokens))
    assert (seen.is_signed_in, seen.user_id, seen.username) == (True, made.user_id, "Ada")
    assert seen.amr == ["pwd", "otp", "mfa"]

    await service.stub.SignOut(pb.SignOutRequest(), metadata=bearer(done.tokens))
    gone = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(done.tokens))
    assert gone == pb.FetchAuthSessionResponse()

    again = await service.sign_in("ada", password=PASSWORD)
    assert again.next_step.step == SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE
    async with fails("CODE_ALREADY_USED"):
        await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=again.session, totp_code=service.totp(setup.shared_secret))
        )
    service.next_totp_step()
    final = await service.stub.ConfirmSignIn(
        pb.ConfirmSignInRequest(session=again.session, totp_code=service.totp(setup.shared_secret))
    )
    assert final.is_signed_in
