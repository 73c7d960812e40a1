"""The calls of a calling team, one line each, and what its users do between them."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.sign_in_step_pb2 import SignInStep
from authsvc.v1.tokens_pb2 import Tokens
from tests.service import Account, Service, bearer

NEW_PASSWORD = "Ferry-4-marmalade-skies"


# Of strangers, and of all places that are known to any account.
SEED_FAILURES = """
insert into failures (username_key, factor, count, locked_until, updated_at)
select $1, $2 || lane, $3, $4, $4
  from (
      select '' as lane
      union all
      select ' ' || lower(kind) || ':' || encode(digest, 'hex') from known_lanes
  ) lanes
"""


async def seed_failures(service: Service, database: Database, factor: str, count: int) -> None:
    """Let so many failures of ada's have happened in every lane, with no lock left of them."""
    await database.execute(SEED_FAILURES, "ada", factor, count, service.clock.now())


def wrong(code: str) -> str:
    """Return a code of the same length that differs in every digit."""
    return "".join(str((int(digit) + 1) % 10) for digit in code)


def wrong_totp(service: Service, *secrets: str) -> str:
    """Return a code that authenticators with these secrets show neither now nor some steps around."""
    shown = {service.totp(secret, steps=steps) for secret in secrets for steps in range(-3, 4)}
    return next(code for code in ("000000", *(f"{number:06d}" for number in range(1, 100))) if code not in shown)


def step_of(response: pb.SignInResponse | pb.ConfirmSignInResponse) -> str:
    """Return the name of the step that a sign-in waits for; only DONE is signed in and has tokens."""
    is_done = response.next_step.step == SignInStep.SIGN_IN_STEP_DONE
    assert (response.is_signed_in, response.HasField("tokens")) == (is_done, is_done)
    return SignInStep.Name(response.next_step.step).removeprefix("SIGN_IN_STEP_")


async def confirm(service: Service, username: str, code: str) -> pb.ConfirmSignUpResponse:
    """Confirm an account."""
    return await service.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username=username, confirmation_code=code))


async def resend(service: Service, username: str) -> str:
    """Have a new sign-up code sent; return the masked destination."""
    sent = await service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=username))
    return sent.code_delivery.destination


async def answer(service: Service, session: str, totp_code: str) -> pb.ConfirmSignInResponse:
    """Answer a step with the code of an authenticator."""
    return await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, totp_code=totp_code))


async def choose(service: Service, session: str, kind: MfaType.ValueType) -> pb.ConfirmSignInResponse:
    """Answer a selection step."""
    return await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, mfa_type=kind))


async def answer_mail(service: Service, session: str, address: str, *, after: int) -> pb.ConfirmSignInResponse:
    """Answer a step with the code of the first such mail to `address` after the given number of mails."""
    code = await service.code(address, after=after)
    return await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, email_code=code))


async def reset(service: Service, username: str) -> str:
    """Have a reset code sent; return the masked destination."""
    sent = await service.stub.ResetPassword(pb.ResetPasswordRequest(username=username))
    return sent.next_step.code_delivery.destination


async def reset_code(service: Service, account: Account) -> str:
    """Have a reset code sent and read it in its mail."""
    before = service.catcher.last_number()
    await reset(service, account.username)
    return await service.code(account.email, after=before)


async def confirm_reset(
    service: Service, username: str, code: str, new_password: str = NEW_PASSWORD
) -> pb.ConfirmResetPasswordResponse:
    """Set a new password with a reset code."""
    return await service.stub.ConfirmResetPassword(
        pb.ConfirmResetPasswordRequest(username=username, confirmation_code=code, new_password=new_password)
    )


async def update(service: Service, tokens: Tokens, previous: str, proposed: str = NEW_PASSWORD) -> Tokens:
    """Change the password of a signed-in user; return the tokens to go on with."""
    request = pb.UpdatePasswordRequest(previous_password=previous, proposed_password=proposed)
    return (await service.stub.UpdatePassword(request, metadata=bearer(tokens))).tokens


async def associate(service: Service, tokens: Tokens, friendly_name: str = "") -> pb.AssociateTotpResponse:
    """Ask for a further authenticator."""
    request = pb.AssociateTotpRequest(friendly_name=friendly_name)
    return await service.stub.AssociateTotp(request, metadata=bearer(tokens))


async def verify(service: Service, tokens: Tokens, session: str, totp_code: str) -> None:
    """Prove a further authenticator."""
    await service.stub.VerifyTotp(pb.VerifyTotpRequest(session=session, totp_code=totp_code), metadata=bearer(tokens))


async def recovery_codes(service: Service, tokens: Tokens) -> list[str]:
    """Have new recovery codes made."""
    request = pb.GenerateRecoveryCodesRequest()
    return list((await service.stub.GenerateRecoveryCodes(request, metadata=bearer(tokens))).recovery_codes)


async def refresh(service: Service, refresh_token: str) -> Tokens:
    """Change a refresh token for new tokens."""
    refreshed = await service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=refresh_token))
    return refreshed.tokens


async def fetch(service: Service, tokens: Tokens | str) -> pb.FetchAuthSessionResponse:
    """Ask whom an access token stands for."""
    return await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(tokens))


async def is_live(service: Service, tokens: Tokens) -> bool:
    """Tell whether an access token stands for a signed-in user."""
    return (await fetch(service, tokens)).is_signed_in


async def sign_out(service: Service, tokens: Tokens, *, everywhere: bool = False) -> None:
    """End the session, or all of the user's."""
    await service.stub.SignOut(pb.SignOutRequest(**{"global": everywhere}), metadata=bearer(tokens))


async def settle(service: Service, database: Database) -> list[EmailMessage]:
    """Wait until no mail is on its way; return every mail that arrived."""
    for _ in range(500):
        if not await database.fetchval("select count(*) from outbox where state = 'QUEUED'"):
            return service.catcher.messages()
        await asyncio.sleep(0.01)
    raise AssertionError("mail is still on its way")


def recipients(mails: list[EmailMessage]) -> list[str]:
    """Return who got each mail."""
    return [str(mail["Delivered-To"]) for mail in mails]
