"""Who asks with addresses where users sign in by them: nothing tells which have accounts, nor whose they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.abuse.conftest import TRUSTING
from tests.abuse.people import HOME, LAIR, WRONG, Person, outcome
from tests.rpc.calls import NEW_PASSWORD, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service

BY_EMAIL = {"sign_in_by_email": True, "mfa": "OFF"}
TAKEN, FREE = "ada@example.com", "eve@example.com"


async def sign_up(service: Service, address: str) -> None:
    """Sign up by an address, with a password of the stranger's own."""
    await service.stub.SignUp(pb.SignUpRequest(username=address, password=NEW_PASSWORD))


async def test_own_sign_up_tells_nothing(run: Run) -> None:
    """Whoever signs up with an address, and then signs in or confirms, sees the same whether it was taken or free.

    OWASP ASVS 5 6.3.8.
    """
    async with run(server=TRUSTING, accounts=BY_EMAIL) as service:
        await service.confirmed("ada")
        stranger = Person(service, LAIR)

        async def confirm(address: str) -> None:
            request = pb.ConfirmSignUpRequest(username=address, confirmation_code="424242")
            await service.stub.ConfirmSignUp(request, metadata=stranger.metadata)

        async def resend(address: str) -> None:
            await service.stub.ResendSignUpCode(
                pb.ResendSignUpCodeRequest(username=address), metadata=stranger.metadata
            )

        calls: list[Callable[[str], Awaitable[object]]] = [
            lambda address: stranger.sign_in(address, NEW_PASSWORD),
            lambda address: stranger.sign_in(address, WRONG),
            confirm,
            resend,
            confirm,
            stranger.reset,
            lambda address: stranger.confirm_reset("00000000", username=address),
            *[lambda address: stranger.sign_in(address, WRONG)] * 5,
            lambda address: stranger.sign_in(address, NEW_PASSWORD),
            *[confirm] * 5,
            *[resend] * 6,
        ]
        for address in (TAKEN, FREE):
            await sign_up(service, address)
        for number, call in enumerate(calls):
            seen = [await outcome(call(address)) for address in (TAKEN, FREE)]
            assert seen[0] == seen[1], f"call {number} tells {seen}"
        service.clock.advance(service.settings.limits.lock_max)
        steps = [step_of(await stranger.sign_in(address, NEW_PASSWORD)) for address in (TAKEN, FREE)]
        assert steps == ["CONFIRM_SIGN_UP"] * 2
        assert step_of(await stranger.sign_in(TAKEN, PASSWORD)) == "DONE"


async def test_own_sign_up_forgets_no_guesses(run: Run, database: Database) -> None:
    """A stranger's own sign-up by the owner's address, signed in to in between, gives no more guesses at the owner's.

    NIST SP 800-63B-4 §3.2.2.
    """
    async with run(server=TRUSTING, accounts=BY_EMAIL) as service:
        await service.confirmed("ada")
        await sign_up(service, TAKEN)
        stranger = Person(service, LAIR)
        for _ in range(4):
            assert await outcome(stranger.sign_in(TAKEN, WRONG)) == "NOT_AUTHORIZED"
            assert step_of(await stranger.sign_in(TAKEN, NEW_PASSWORD)) == "CONFIRM_SIGN_UP"
        assert await outcome(stranger.sign_in(TAKEN, WRONG)) == "NOT_AUTHORIZED"
        assert await outcome(stranger.sign_in(TAKEN, NEW_PASSWORD)) == "LIMIT_EXCEEDED"
        assert await database.fetchval("select count from failures where factor = 'PASSWORD'") == 5


async def test_locks_of_an_address_tell_no_name(run: Run, database: Database) -> None:
    """What is tried and asked for by an address counts for nothing by the account's name, and the other way round.

    OWASP ASVS 5 6.3.8.
    """
    async with run(server=TRUSTING, accounts=BY_EMAIL) as service:
        await service.confirmed("ada")
        stranger = Person(service, LAIR)
        for _ in range(5):
            await outcome(stranger.sign_in(TAKEN, WRONG))
            await outcome(stranger.reset(TAKEN))
            await outcome(stranger.confirm_reset("00000000", username=TAKEN))
            request = pb.ConfirmSignUpRequest(username=TAKEN, confirmation_code="424242")
            await outcome(service.stub.ConfirmSignUp(request, metadata=stranger.metadata))
            again = pb.ResendSignUpCodeRequest(username=TAKEN)
            await outcome(service.stub.ResendSignUpCode(again, metadata=stranger.metadata))
        kept = await database.fetch("select username_key from failures union select username_key from codes")
        assert {row["username_key"] for row in kept} == {TAKEN}
        windows = await database.fetch("select subject from rate_windows where subject like 'account:ada%'")
        assert {row["subject"].split()[0] for row in windows} == {f"account:{TAKEN}"}
        assert step_of(await Person(service, HOME).sign_in("ada")) == "DONE"


async def test_reset_opens_both_names(run: Run) -> None:
    """A new password is guessed at from nothing by either name."""
    async with run(server=TRUSTING, accounts=BY_EMAIL) as service:
        await service.confirmed("ada")
        stranger, owner = Person(service, LAIR), Person(service, HOME)
        for login in ("ada", TAKEN):
            for _ in range(5):
                await outcome(stranger.sign_in(login, WRONG))
        before = service.catcher.last_number()
        session = (await owner.reset(TAKEN)).session
        await owner.confirm_reset(await service.code(TAKEN, after=before), session=session, username=TAKEN)
        for login in ("ada", TAKEN):
            assert step_of(await stranger.sign_in(login, NEW_PASSWORD)) == "DONE"
