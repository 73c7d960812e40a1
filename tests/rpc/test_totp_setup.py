"""Setting an authenticator up within a sign-in."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pyotp

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.calls import answer, associate, confirm, fetch, settle, step_of, verify, wrong_totp
from tests.rpc.conftest import Run
from tests.service import Service, fails


async def begin(service: Service, username: str = "ada") -> pb.SignInResponse:
    """Start the sign-in of an account without an authenticator."""
    started = await service.sign_in(username)
    assert step_of(started) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    return started


async def test_only_what_the_step_needs(service: Service) -> None:
    """The set-up step carries secret, URI and session, and nothing of other steps."""
    await service.confirmed("ada")
    step = (await begin(service)).next_step
    assert {field.name for field, _ in step.ListFields()} == {"step", "totp_setup"}


async def test_key_uri(run: Run) -> None:
    """The URI has secret, issuer, algorithm, digits and period, every part percent-encoded."""
    name = "J\u00fcrgen/O'Neil?&=#+%41"
    async with run(accounts={"totp_issuer": "Analytical Engines & Co"}) as service:
        await service.sign_up(name, email="j@example.com")
        await confirm(service, name, await service.code("j@example.com"))
        setup = (await begin(service, name)).next_step.totp_setup
    assert setup.setup_uri.isascii()
    assert " " not in setup.setup_uri
    parts = urlsplit(setup.setup_uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert unquote(parts.path) == f"/Analytical Engines & Co:{name}"
    assert list(parse_qs(parts.query, strict_parsing=True).items()) == [
        ("secret", [setup.shared_secret]),
        ("issuer", ["Analytical Engines & Co"]),
        ("algorithm", ["SHA1"]),
        ("digits", ["6"]),
        ("period", ["30"]),
    ]
    read = pyotp.parse_uri(setup.setup_uri)
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.name, read.issuer) == (setup.shared_secret, name, "Analytical Engines & Co")
    assert len(read.byte_secret()) == 20


async def test_every_sign_in_has_a_secret_of_its_own(service: Service, database: Database) -> None:
    """Each sign-in shows another secret, which the database has only sealed; each is answered by its own code."""
    await service.confirmed("ada")
    first, second = await begin(service), await begin(service)
    secrets = [first.next_step.totp_setup.shared_secret, second.next_step.totp_setup.shared_secret]
    assert secrets[0] != secrets[1]
    sealed = [bytes(row["sealed_secret"]) for row in await database.fetch("select sealed_secret from totp_devices")]
    assert len(sealed) == 2
    for secret in secrets:
        assert not any(secret.encode() in row or pyotp.TOTP(secret).byte_secret() in row for row in sealed)
    async with fails("CODE_MISMATCH"):
        await answer(service, second.session, service.totp(secrets[0]))
    assert step_of(await answer(service, second.session, service.totp(secrets[1]))) == "DONE"


async def test_wrong_code_leaves_the_setup_as_it_is(service: Service) -> None:
    """After a wrong code the same secret and session go on."""
    await service.confirmed("ada")
    started = await begin(service)
    secret = started.next_step.totp_setup.shared_secret
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await answer(service, started.session, wrong_totp(service, secret))
    assert step_of(await answer(service, started.session, service.totp(secret))) == "DONE"


async def test_unfinished_setup_is_no_factor(service: Service) -> None:
    """Who left a set-up unfinished is asked to set up again, not for a code."""
    await service.confirmed("ada")
    await begin(service)
    await begin(service)


async def test_enrolling_signs_in_and_tells_the_user(service: Service, database: Database) -> None:
    """The first right code makes the authenticator active, signs in with both factors and is told by mail."""
    await service.confirmed("ada")
    mails = await settle(service, database)
    started = await begin(service)
    done = await answer(service, started.session, service.totp(started.next_step.totp_setup.shared_secret))
    assert (await fetch(service, done.tokens)).amr == ["pwd", "otp", "mfa"]
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    arrived = await settle(service, database)
    assert [mail["Subject"] for mail in arrived[len(mails) :]] == ["Your two-step sign-in was changed"]


async def test_someone_else_enrolled_meanwhile(service: Service, database: Database) -> None:
    """Of two set-ups at once the first to finish counts: the other one's right code neither enrols nor signs in."""
    await service.confirmed("ada")
    slow, fast = await begin(service), await begin(service)
    await answer(service, fast.session, service.totp(fast.next_step.totp_setup.shared_secret))
    sessions = await database.fetchval("select count(*) from sessions")
    async with fails("SESSION_EXPIRED"):
        await answer(service, slow.session, service.totp(slow.next_step.totp_setup.shared_secret))
    assert await database.fetchval("select count(*) from totp_devices where verified_at is not null") == 1
    assert await database.fetchval("select count(*) from sessions") == sessions


async def test_enrolled_by_the_signed_in_user_meanwhile(run: Run) -> None:
    """A set-up is worth nothing once the account got an authenticator in another way."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
    async with run(accounts={"mfa": "REQUIRED"}) as service:
        started = await begin(service)
        added = await associate(service, tokens)
        await verify(service, tokens, added.session, service.totp(added.shared_secret))
        async with fails("SESSION_EXPIRED"):
            await answer(service, started.session, service.totp(started.next_step.totp_setup.shared_secret))
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_setup_outlives_a_change_of_settings(run: Run) -> None:
    """A set-up that began while MFA was required is finished, and counts, where it has become optional."""
    async with run() as service:
        await service.confirmed("ada")
        started = await begin(service)
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        done = await answer(service, started.session, service.totp(started.next_step.totp_setup.shared_secret))
        assert (await fetch(service, done.tokens)).amr == ["pwd", "otp", "mfa"]
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
