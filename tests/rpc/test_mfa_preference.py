"""Second factors that a user enables, disables and prefers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.account_calls import add_authenticator, mfa, prefer, recorded, recovery_codes_left
from tests.rpc.attribute_calls import NUMBER
from tests.rpc.calls import recovery_codes, refresh, settle, sign_out, step_of
from tests.rpc.conftest import Run
from tests.rpc.sent_codes import Sent
from tests.service import Account, Service, bearer, fails

MINUTE = timedelta(minutes=1)
ALL = {"mfa_types": ("TOTP", "SMS", "EMAIL")}


@pytest.fixture
async def service(run: Run) -> AsyncIterator[Service]:
    """Run the service with every kind of second factor, none of them required."""
    async with run(accounts={**ALL, "mfa": "OPTIONAL"}) as running:
        yield running


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator and a verified address."""
    return await optional(service)


async def optional(service: Service) -> Account:
    """Make an account, where nothing asks for it, with one authenticator."""
    made = await service.confirmed("ada")
    tokens = (await service.sign_in("ada")).tokens
    secret = await add_authenticator(service, tokens)
    return Account("ada", "ada@example.com", made.user_id, secret, tokens)


async def test_authenticator_is_enabled(service: Service, ada: Account) -> None:
    """A verified authenticator is an enabled factor, and none is preferred."""
    assert await mfa(service, ada.tokens) == (["TOTP"], "")


async def test_nothing_is_enabled_at_first(service: Service) -> None:
    """An account without a factor has none enabled, though its address is verified."""
    await service.confirmed("ada")
    assert await mfa(service, (await service.sign_in("ada")).tokens) == ([], "")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ([{"email": "ENABLED"}], (["TOTP", "EMAIL"], "")),
        ([{"email": "PREFERRED"}], (["TOTP", "EMAIL"], "EMAIL")),
        ([{"email": "PREFERRED", "totp": "DISABLED"}], (["EMAIL"], "EMAIL")),
        ([{"totp": "PREFERRED"}, {"email": "PREFERRED"}], (["TOTP", "EMAIL"], "EMAIL")),
        ([{"totp": "PREFERRED"}, {"totp": "ENABLED"}], (["TOTP"], "TOTP")),
        ([{"totp": "PREFERRED"}, {"totp": "NOT_PREFERRED"}], (["TOTP"], "")),
        ([{"totp": "PREFERRED"}, {"email": "NOT_PREFERRED"}], (["TOTP"], "TOTP")),
        ([{"totp": "PREFERRED"}, {"totp": "DISABLED"}], ([], "")),
        ([{"totp": "PREFERRED"}, {"totp": "DISABLED"}, {"totp": "ENABLED"}], (["TOTP"], "")),
        ([{"totp": "DISABLED", "sms": "DISABLED", "email": "DISABLED"}], ([], "")),
        ([{}], (["TOTP"], "")),
    ],
)
async def test_changes(
    service: Service, ada: Account, changes: list[dict[str, str]], outcome: tuple[list[str], str]
) -> None:
    """Each change does what it says to its kind, and to the others nothing but take their preference."""
    for change in changes:
        await prefer(service, ada.tokens, **change)
    assert await mfa(service, ada.tokens) == outcome


async def test_repeat_changes_and_tells_nothing(service: Service, ada: Account, database: Database) -> None:
    """A change is told by mail and recorded, its repeat is not."""
    mails = await settle(service, database)
    for _ in range(2):
        await prefer(service, ada.tokens, email="PREFERRED")
    arrived = await settle(service, database)
    assert [mail["Subject"] for mail in arrived[len(mails) :]] == ["Your two-step sign-in was changed"]
    kind = "UPDATE_MFA_PREFERENCE"
    assert await recorded(database, kind) == [(kind, "SUCCESS", {"email": "PREFERRED"})]


async def test_disabled_authenticator_is_not_asked_for(service: Service, ada: Account) -> None:
    """A disabled factor is not asked for at sign-in; one that is enabled again is, with the authenticator it had."""
    await prefer(service, ada.tokens, totp="DISABLED")
    assert step_of(await service.sign_in("ada")) == "DONE"
    await prefer(service, ada.tokens, totp="ENABLED")
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


@pytest.mark.parametrize("medium", ["EMAIL", "SMS"])
async def test_disabled_factor_does_not_come_back(service: Service, database: Database, key: str, medium: str) -> None:
    """A kind that is disabled while a sign-in waits for its code stays so: the code, though right, is too late."""
    sent = Sent(service, database, key, medium)
    await sent.user()
    started, code = await sent.asked()
    tokens = (await sent.answer(started.session, code)).tokens
    started, code = await sent.asked()
    await prefer(service, tokens, **{medium.lower(): "DISABLED"})
    async with fails("SESSION_EXPIRED"):
        await sent.answer(started.session, code)
    assert await mfa(service, tokens) == ([], "")
    assert step_of(await service.sign_in("ada")) == "DONE"


async def test_new_authenticator_enables_totp(service: Service, ada: Account) -> None:
    """Who sets an authenticator up is asked for its codes, whatever was disabled before."""
    await prefer(service, ada.tokens, totp="DISABLED")
    await add_authenticator(service, ada.tokens)
    assert await mfa(service, ada.tokens) == (["TOTP"], "")


@pytest.mark.parametrize("change", ["ENABLED", "PREFERRED"])
async def test_what_is_not_set_up_cannot_be_enabled(service: Service, ada: Account, change: str) -> None:
    """Without a verified phone number SMS is refused, and with it all other changes of the call."""
    async with fails("MFA_NOT_ENROLLED") as failures:
        await prefer(service, ada.tokens, totp="DISABLED", sms=change)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert await mfa(service, ada.tokens) == (["TOTP"], "")


@pytest.mark.parametrize(
    ("is_there", "verified"), [(True, True), (True, False), (False, True)], ids=["verified", "unverified", "missing"]
)
async def test_sms_needs_a_verified_number(
    service: Service, ada: Account, operator: Operator, database: Database, is_there: bool, verified: bool
) -> None:
    """SMS can be enabled with a phone number that is there and verified, and with no other."""
    await operator.update("ada", attributes={"phone_number": NUMBER}, phone_number_verified=verified)
    if not is_there:
        # No call leaves a mark without its number.
        await database.execute("update users set attributes = '{}'")
    if is_there and verified:
        await prefer(service, ada.tokens, sms="ENABLED")
        assert await mfa(service, ada.tokens) == (["TOTP", "SMS"], "")
        return
    async with fails("MFA_NOT_ENROLLED"):
        await prefer(service, ada.tokens, sms="ENABLED")


async def test_email_needs_a_verified_address(service: Service, ada: Account, operator: Operator) -> None:
    """EMAIL is refused to an account whose address was never verified."""
    await operator.update("ada", email_verified=False)
    async with fails("MFA_NOT_ENROLLED"):
        await prefer(service, ada.tokens, email="ENABLED")


async def test_two_cannot_be_preferred(service: Service, ada: Account) -> None:
    """At most one factor of a call is preferred."""
    async with fails("INVALID_FIELDS") as failures:
        await prefer(service, ada.tokens, totp="PREFERRED", email="PREFERRED")
    assert failures[0].violations == [("email", "ONE_PREFERRED")]
    assert await mfa(service, ada.tokens) == (["TOTP"], "")


async def test_unknown_preferences_are_refused(service: Service, ada: Account) -> None:
    """A number that is no preference breaks a rule of its field."""
    request = pb.UpdateMfaPreferenceRequest()
    request.MergeFromString(b"\x08\x63\x18\x63")
    async with fails("INVALID_FIELDS") as failures:
        await service.stub.UpdateMfaPreference(request, metadata=ada.bearer)
    assert failures[0].violations == [("totp", "UNKNOWN"), ("email", "UNKNOWN")]


async def test_kinds_that_the_settings_do_not_allow(run: Run) -> None:
    """A kind that is not among the allowed ones can be disabled, not enabled, and is not shown."""
    async with run(accounts={"mfa": "OPTIONAL", "mfa_types": ("TOTP",)}) as service:
        ada = await optional(service)
        async with fails("INVALID_FIELDS") as failures:
            await prefer(service, ada.tokens, sms="PREFERRED", email="ENABLED")
        assert failures[0].violations == [("email", "NOT_ALLOWED"), ("sms", "NOT_ALLOWED")]
        await prefer(service, ada.tokens, email="DISABLED", sms="NOT_PREFERRED")
        assert await mfa(service, ada.tokens) == (["TOTP"], "")


async def test_last_factor_stays_where_one_is_required(run: Run) -> None:
    """Where MFA is required a factor can be disabled only while another stays."""
    async with run() as service:
        ada = await service.enrolled("ada")
    async with run(accounts={"mfa": "REQUIRED", "mfa_types": ("TOTP", "EMAIL")}) as service:
        async with fails("MFA_REQUIRED") as failures:
            await prefer(service, ada.tokens, totp="DISABLED")
        assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
        await prefer(service, ada.tokens, email="PREFERRED", totp="DISABLED")
        async with fails("MFA_REQUIRED"):
            await prefer(service, ada.tokens, email="DISABLED")
        assert await mfa(service, ada.tokens) == (["EMAIL"], "EMAIL")


async def test_change_settles_a_recovered_password(service: Service, ada: Account, database: Database) -> None:
    """A user who changes the factors has them asked for again, however the password was recovered before."""
    await database.execute("update passwords set recovered_by = 'EMAIL'")
    await prefer(service, ada.tokens, totp="ENABLED")
    assert await database.fetchval("select recovered_by from passwords") == "EMAIL"
    await prefer(service, ada.tokens, totp="PREFERRED")
    assert await database.fetchval("select recovered_by from passwords") is None


async def test_recovery_codes_are_counted(service: Service, ada: Account) -> None:
    """FetchMfaPreference tells how many recovery codes are left."""
    assert await recovery_codes_left(service, ada.tokens) == 0
    await recovery_codes(service, ada.tokens)
    assert await recovery_codes_left(service, ada.tokens) == 10


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, ada: Account, late: timedelta) -> None:
    """UpdateMfaPreference needs an authentication of the last 10 minutes; FetchMfaPreference needs none."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, ada.tokens.refresh_token)
    assert await mfa(service, tokens) == (["TOTP"], "")
    if late <= timedelta():
        await prefer(service, tokens, totp="PREFERRED")
        return
    async with fails("REAUTHENTICATION_REQUIRED"):
        await prefer(service, tokens, totp="PREFERRED")


async def test_needs_a_living_session(service: Service, ada: Account) -> None:
    """Neither a stranger nor an ended session sees or changes factors."""
    async with fails("TOKEN_INVALID"):
        await service.stub.FetchMfaPreference(pb.FetchMfaPreferenceRequest())
    await sign_out(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await service.stub.UpdateMfaPreference(pb.UpdateMfaPreferenceRequest(), metadata=bearer(ada.tokens))
