"""The run: everything that users do and get wrong, and faults of what the server stands on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from tests.canary.stage import Stage
from tests.canary.witness import Witness
from tests.client import Authenticator

PASSWORD = "Correct-horse-of-some-yard-7"
NEW_PASSWORD = "Battery-staple-of-some-yard-8"
NEWEST_PASSWORD = "Another-staple-of-some-yard-9"
WRONG_PASSWORD = "Nobodys-password-in-any-yard-6"
NUMBER = "+4915112345678"
WRONG_CODES = ("314159", "265358")


@dataclass(frozen=True)
class Act:
    """Hold what the acts share."""

    stage: Stage
    witness: Witness

    async def sign_up(self, username: str, *, address: str | None = None) -> None:
        """Ask for an account."""
        attributes = {
            "email": address or address_of(username),
            "name": "Robin of the canary mine",
            # Long enough to be in no digest by chance.
            "locale": "en-GB-oxendict",
        }
        request = pb.SignUpRequest(username=username, password=PASSWORD, attributes=attributes)
        await self.witness.call("SignUp", request)

    async def sign_in(self, username: str, password: str, code: str) -> str:
        """Sign in with a code; return the access token."""
        started = await self.witness.call("SignIn", pb.SignInRequest(username=username, password=password))
        answer = pb.ConfirmSignInRequest(session=started.session, totp_code=code)
        done = await self.witness.call("ConfirmSignIn", answer)
        return str(done.tokens.access_token)

    async def first_steps(self) -> Authenticator:
        """Sign up, confirm, set an authenticator up, sign in again; get all of it wrong first, and repeat it after."""
        call, refused = self.witness.call, self.witness.refused
        await self.sign_up("ada")
        code = await self.stage.code(address_of("ada"))
        confirmation = pb.ConfirmSignUpRequest(username="ada", confirmation_code=code)
        wrong = pb.ConfirmSignUpRequest(username="ada", confirmation_code=a_wrong_code({code}))
        await refused("CODE_MISMATCH", "ConfirmSignUp", wrong)
        await call("ConfirmSignUp", confirmation)
        await refused("CODE_EXPIRED", "ConfirmSignUp", confirmation)
        await refused("NOT_AUTHORIZED", "SignIn", pb.SignInRequest(username="ada", password=WRONG_PASSWORD))

        started = await call("SignIn", pb.SignInRequest(username="ada", password=PASSWORD))
        authenticator = Authenticator(started.next_step.totp_setup.shared_secret)
        wrong_code = a_wrong_code(authenticator.codes_around_now())
        guess = pb.ConfirmSignInRequest(session=started.session, totp_code=wrong_code)
        await refused("CODE_MISMATCH", "ConfirmSignIn", guess)
        answer = pb.ConfirmSignInRequest(session=started.session, totp_code=await authenticator.code())
        first = (await call("ConfirmSignIn", answer)).tokens
        await refused("SESSION_EXPIRED", "ConfirmSignIn", answer)

        code = await authenticator.code()
        await self.sign_in("ada", PASSWORD, code)
        again = await call("SignIn", pb.SignInRequest(username="ada", password=PASSWORD))
        replay = pb.ConfirmSignInRequest(session=again.session, totp_code=code)
        await refused("CODE_ALREADY_USED", "ConfirmSignIn", replay)
        return await self.sessions(first.access_token, first.refresh_token, first.id_token)

    async def sessions(self, access_token: str, refresh_token: str, id_token: str) -> Authenticator:
        """Use a session in every way, and bad tokens too; return one more authenticator of the user's."""
        call, refused = self.witness.call, self.witness.refused
        for method, request in (
            ("FetchAuthSession", pb.FetchAuthSessionRequest()),
            ("GetCurrentUser", pb.GetCurrentUserRequest()),
        ):
            await call(method, request, token=access_token)
        page = await call("ListSessions", pb.ListSessionsRequest(page_size=1), token=access_token)
        next_page = pb.ListSessionsRequest(page_size=1, page_token=page.next_page_token)
        await call("ListSessions", next_page, token=access_token)
        garbled = pb.ListSessionsRequest(page_token=page.next_page_token[::-1])
        await refused("INVALID_FIELDS", "ListSessions", garbled, token=access_token)
        for token in (id_token, refresh_token, access_token[:-4], "not.a.token-of-the-canary"):
            await refused("TOKEN_INVALID", "GetCurrentUser", pb.GetCurrentUserRequest(), token=token)
            await call("FetchAuthSession", pb.FetchAuthSessionRequest(), token=token)

        begun = await call("AssociateTotp", pb.AssociateTotpRequest(friendly_name="spare"), token=access_token)
        spare = Authenticator(begun.shared_secret)
        guess = pb.VerifyTotpRequest(session=begun.session, totp_code=a_wrong_code(spare.codes_around_now()))
        await refused("CODE_MISMATCH", "VerifyTotp", guess, token=access_token)
        first_code = pb.VerifyTotpRequest(session=begun.session, totp_code=await spare.code())
        await call("VerifyTotp", first_code, token=access_token)

        await self.phone(access_token)
        refresh = pb.RefreshSessionRequest(refresh_token=refresh_token)
        fresh = (await call("RefreshSession", refresh)).tokens
        await self.stage.execute("update refresh_tokens set used_at = used_at - interval '1 hour'")
        await refused("REFRESH_TOKEN_REUSED", "RefreshSession", refresh)
        await refused("TOKEN_REVOKED", "GetCurrentUser", pb.GetCurrentUserRequest(), token=fresh.access_token)
        return spare

    async def phone(self, token: str) -> None:
        """Set a phone number and verify it, with a webhook that refuses what it quotes."""
        call, refused, webhook = self.witness.call, self.witness.refused, self.stage.webhook
        webhook.status = 400
        await call(
            "UpdateUserAttributes", pb.UpdateUserAttributesRequest(attributes={"phone_number": NUMBER}), token=token
        )
        await self.stage.until_outbox("state = 'DEAD' and last_error = 'refused: 400'")
        await self.stage.sms_code(after=0)
        webhook.status = 500
        again = pb.SendUserAttributeVerificationCodeRequest(name="phone_number")
        await call("SendUserAttributeVerificationCode", again, token=token)
        await self.stage.until_outbox("last_error = 'not taken: 500'")
        webhook.status = 204
        code = await self.stage.sms_code(after=1)
        await self.stage.until_outbox("state = 'SENT' and medium = 'SMS'")
        guess, right = (
            pb.ConfirmUserAttributeRequest(name="phone_number", confirmation_code=each)
            for each in (a_wrong_code({code}), code)
        )
        await refused("CODE_MISMATCH", "ConfirmUserAttribute", guess, token=token)
        await call("ConfirmUserAttribute", right, token=token)

    async def refusals(self) -> None:
        """Break the rules of every field, take what is taken, guess until it hurts."""
        call, refused = self.witness.call, self.witness.refused
        nonsense = pb.SignUpRequest(
            username="a b", password="canary7", attributes={"email": "canary.without-an-at-sign", "locale": "\0canary"}
        )
        await refused("INVALID_FIELDS", "SignUp", nonsense)
        weak = pb.SignUpRequest(username="bob", password="canary7", attributes={"email": address_of("bob")})
        await refused("INVALID_PASSWORD", "SignUp", weak)
        taken = pb.SignUpRequest(username="ADA", password=PASSWORD, attributes={"email": address_of("other")})
        await refused("USERNAME_EXISTS", "SignUp", taken)
        await self.sign_up("cuckoo", address=address_of("ada"))
        await call("ResendSignUpCode", pb.ResendSignUpCodeRequest(username="cuckoo"))
        guess = pb.SignInRequest(username="nobody", password=WRONG_PASSWORD)
        for _ in range(5):
            await refused("NOT_AUTHORIZED", "SignIn", guess)
        await refused("LIMIT_EXCEEDED", "SignIn", guess)
        token = "stolen-bearer-token-of-the-canary"
        secret = f"\n\xff{PASSWORD}".encode("latin-1")
        path = "/authsvc.v1.AuthService/"
        assert (
            await self.witness.refused_bytes(f"{path}SignIn", secret, token=token) is grpc.StatusCode.INVALID_ARGUMENT
        )
        assert await self.witness.refused_bytes(f"{path}Nothing", secret, token=token) is grpc.StatusCode.UNIMPLEMENTED

    async def passwords(self, spare: Authenticator) -> None:
        """Forget a password, change it, sign out."""
        call, refused = self.witness.call, self.witness.refused
        await call("ResetPassword", pb.ResetPasswordRequest(username="ada"))
        code = await self.stage.code(address_of("ada"), after=1)

        def reset(code: str, new_password: str) -> pb.ConfirmResetPasswordRequest:
            return pb.ConfirmResetPasswordRequest(username="ada", confirmation_code=code, new_password=new_password)

        await refused("CODE_MISMATCH", "ConfirmResetPassword", reset(a_wrong_code({code}), NEW_PASSWORD))
        await refused("INVALID_PASSWORD", "ConfirmResetPassword", reset(code, "canary-and-ada-7"))
        await call("ConfirmResetPassword", reset(code, NEW_PASSWORD))
        await refused("NOT_AUTHORIZED", "SignIn", pb.SignInRequest(username="ada", password=PASSWORD))
        token = await self.sign_in("ada", NEW_PASSWORD, await spare.code())
        for reason, previous, proposed in (
            ("NOT_AUTHORIZED", WRONG_PASSWORD, NEWEST_PASSWORD),
            ("INVALID_PASSWORD", NEW_PASSWORD, NEW_PASSWORD),
        ):
            change = pb.UpdatePasswordRequest(previous_password=previous, proposed_password=proposed)
            await refused(reason, "UpdatePassword", change, token=token)
        change = pb.UpdatePasswordRequest(previous_password=NEW_PASSWORD, proposed_password=NEWEST_PASSWORD)
        await call("UpdatePassword", change, token=token)
        await call("SignOut", pb.SignOutRequest(), token=token)
        await refused("TOKEN_REVOKED", "GetCurrentUser", pb.GetCurrentUserRequest(), token=token)

    async def faults_of_mail(self) -> None:
        """Have the SMTP server refuse, with quotations, and hang up; leave one mail damaged and one waiting."""
        smtp, until_outbox = self.stage.smtp, self.stage.until_outbox
        smtp.refuses_logins = True
        await self.sign_up("dora")
        await until_outbox("last_error like 'login%'")
        smtp.refuses_logins = False
        smtp.drops.add("MAIL")
        await until_outbox("last_error like 'connection lost%'")
        smtp.drops.clear()
        await self.stage.code(address_of("dora"))
        smtp.refuses_for_good = "eric"
        await self.sign_up("eric")
        await until_outbox("state = 'DEAD' and last_error like '%554%'")
        smtp.refuses_for_now = "fred"
        await self.sign_up("fred")
        await until_outbox("last_error like '%451%'")
        await self.stage.execute(
            "update outbox set sealed_parameters = sealed_parameters || '\\x00', not_before = now()"
            " where state = 'QUEUED'"
        )
        await until_outbox("last_error like 'cannot be rendered%'")
        smtp.refuses_for_now = "gina"
        await self.sign_up("gina")
        await until_outbox("last_error like '%451%'")

    async def faults_of_postgres(self) -> None:
        """Have Postgres quote a row in an error, miss a table, and die."""
        refused = self.witness.refused
        unlucky = pb.SignUpRequest(username="mallory", password=PASSWORD, attributes={"email": address_of("mallory")})
        # Postgres says "Failing row contains (…)".
        await self.stage.execute("alter table users add constraint fault check (username_key <> 'mallory')")
        await refused("INTERNAL", "SignUp", unlucky)
        await self.stage.execute("alter table outbox rename to mislaid")
        unlucky.username = "niels"
        await refused("DATABASE_UNAVAILABLE", "SignUp", unlucky)
        await self.stage.execute("alter table mislaid rename to outbox")

        live = await self.witness.call("SignIn", pb.SignInRequest(username="ada", password=NEWEST_PASSWORD))
        answer = pb.ConfirmSignInRequest(session=live.session, totp_code=WRONG_CODES[0])
        refresh = pb.RefreshSessionRequest(refresh_token="refresh-token-of-the-dead-canary-0123456789")
        await asyncio.to_thread(self.stage.postgres.kill)
        await refused("DATABASE_UNAVAILABLE", "SignUp", unlucky)
        await refused("DATABASE_UNAVAILABLE", "ConfirmSignIn", answer)
        await refused("DATABASE_UNAVAILABLE", "RefreshSession", refresh)
        await self.stage.server.wait_for_health("NOT_SERVING")
        await asyncio.to_thread(self.stage.postgres.start)
        await self.stage.server.wait_for_health("SERVING")
        await refused("TOKEN_INVALID", "RefreshSession", refresh)


def address_of(username: str) -> str:
    """Return a user's address, none of which may be seen."""
    return f"canary.{username}@mine.example.org"


def a_wrong_code(right: set[str]) -> str:
    """Return a code that is none of those."""
    return next(code for code in (*WRONG_CODES, "979323", "846264", "338327", "950288") if code not in right)
