"""Recovery codes as sign-ins use them: each once, by its own user."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest

from authsvc.config import Settings
from authsvc.core.access.throttle import Throttle
from authsvc.core.factors.kinds import EMAIL, PASSWORD, RECOVERY_CODE, SMS, TOTP
from authsvc.core.factors.recovery import RecoveryCode, parse_recovery_code
from authsvc.core.messages.kinds import RecoveryCodeUsed
from authsvc.core.messages.notices import Notices
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.domain import STRANGERS, Lane, User, UserId, UsernameKey
from authsvc.errors import CodeMismatch
from authsvc.store import users
from authsvc.store.db import Database
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK, FakeClock
from tests.rpc.calls import recovery_codes, refresh
from tests.service import Account, Service, fails
from tests.violations import violations_of

MINUTE = timedelta(minutes=1)
HOME = Lane("source:00")
STANDS_FOR = (TOTP, SMS, EMAIL, RECOVERY_CODE)


def made(database: Database, ring: KeyRing, settings: Settings, clock: FakeClock) -> tuple[RecoveryCode, Throttle]:
    """Make what accepts recovery codes, on the service's database and keys."""
    throttle = Throttle(database=database, ring=ring, settings=settings, clock=clock, on_refusal=Metrics().count_limit)
    return RecoveryCode(database=database, ring=ring, throttle=throttle, notices=Notices(ring=ring)), throttle


@pytest.fixture
def recovery(database: Database, ring: KeyRing, settings: Settings, clock: FakeClock) -> RecoveryCode:
    """Make what accepts recovery codes."""
    return made(database, ring, settings, clock)[0]


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def accept(recovery: RecoveryCode, database: Database, account: Account, code: str, clock: FakeClock) -> int:
    """Use a code as it is shown, in a transaction of its own; return how many are left."""
    parsed = recovery.parse_own(code)
    async with database.transaction() as transaction:
        user = await users.lock(transaction, user_id=UserId(UUID(account.user_id)))
        assert isinstance(user, User)
        return await recovery.accept(transaction, user, parsed, now=clock.now())


async def test_ten_codes_of_eighty_bits(service: Service, ada: Account, database: Database) -> None:
    """Ten different codes of 16 letters in groups of four are told once; the database holds digests alone."""
    codes = await recovery_codes(service, ada.tokens)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}", code) for code in codes)
    rows = await database.fetch("select digest from recovery_codes")
    assert {len(row["digest"]) for row in rows} == {32}
    stored = b"".join(row["digest"] for row in rows)
    assert not any(code.replace("-", "").encode() in stored for code in codes)


async def test_each_is_good_once(
    service: Service, ada: Account, database: Database, recovery: RecoveryCode, clock: FakeClock
) -> None:
    """Every code is accepted once, whatever the order, and the number left goes down to none."""
    codes = await recovery_codes(service, ada.tokens)
    left = [await accept(recovery, database, ada, code, clock) for code in reversed(codes)]
    assert left == list(range(9, -1, -1))
    for code in codes:
        with pytest.raises(CodeMismatch):
            await accept(recovery, database, ada, code, clock)


async def test_new_set_replaces_the_former(
    service: Service, ada: Account, database: Database, recovery: RecoveryCode, clock: FakeClock
) -> None:
    """Once new codes are made none of the former ones is accepted."""
    former, new = await recovery_codes(service, ada.tokens), await recovery_codes(service, ada.tokens)
    assert not set(former) & set(new)
    for code in former:
        with pytest.raises(CodeMismatch):
            await accept(recovery, database, ada, code, clock)
    assert await accept(recovery, database, ada, new[0], clock) == 9


async def test_codes_are_of_one_user(
    service: Service, ada: Account, database: Database, recovery: RecoveryCode, clock: FakeClock
) -> None:
    """One user's code is wrong for another, who uses nothing up with it."""
    eve = await service.enrolled("eve")
    (code, *_), _ = await recovery_codes(service, ada.tokens), await recovery_codes(service, eve.tokens)
    with pytest.raises(CodeMismatch):
        await accept(recovery, database, eve, code, clock)
    assert await accept(recovery, database, ada, code, clock) == 9


async def test_codes_outlive_a_change_of_the_master_key(
    service: Service, ada: Account, database: Database, settings: Settings, clock: FakeClock, master_key: MasterKey
) -> None:
    """A code made under the former master key is accepted once a new one stands before it."""
    code, *_ = await recovery_codes(service, ada.tokens)
    recovery, _ = made(database, KeyRing(keys=(MasterKey.generate(), master_key)), settings, clock)
    assert await accept(recovery, database, ada, code, clock) == 9


async def test_use_is_told(
    service: Service, ada: Account, database: Database, recovery: RecoveryCode, clock: FakeClock
) -> None:
    """A code's use is told by mail; a wrong code tells nobody anything."""
    told = "select count(*) from outbox where kind = $1"
    code, *_ = await recovery_codes(service, ada.tokens)
    with pytest.raises(CodeMismatch):
        await accept(recovery, database, ada, "aaaa-aaaa-aaaa-aaaa", clock)
    assert await database.fetchval(told, RecoveryCodeUsed.kind) == 0
    await accept(recovery, database, ada, code, clock)
    assert await database.fetchval(told, RecoveryCodeUsed.kind) == 1


async def test_use_opens_closed_factors(
    service: Service, ada: Account, database: Database, ring: KeyRing, settings: Settings, clock: FakeClock
) -> None:
    """What wrong codes closed in any lane is open again after a recovery code; the password's failures stay."""
    recovery, throttle = made(database, ring, settings, clock)
    code, *_ = await recovery_codes(service, ada.tokens)
    for spec in (*STANDS_FOR, PASSWORD):
        for lane in (STRANGERS, HOME):
            await throttle.spend_try(spec.guarded, UsernameKey("ada"), lane)
    await accept(recovery, database, ada, code, clock)
    kept = await database.fetch("select factor from failures where username_key = 'ada'")
    assert {row["factor"].partition(" ")[0] for row in kept} == {PASSWORD.guarded.key}


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, ada: Account, late: timedelta) -> None:
    """GenerateRecoveryCodes needs an authentication of the last 10 minutes; the codes stay if it is refused."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, ada.tokens.refresh_token)
    if late <= timedelta():
        assert await recovery_codes(service, tokens)
        return
    async with fails("REAUTHENTICATION_REQUIRED"):
        await recovery_codes(service, tokens)
    assert await recovery_codes(service, await service.sign_in_fully(ada))


async def test_needs_a_bearer(service: Service) -> None:
    """Nobody but a signed-in user gets codes."""
    async with fails("TOKEN_INVALID"):
        await service.stub.GenerateRecoveryCodes(pb.GenerateRecoveryCodesRequest())


@pytest.mark.parametrize(
    "text", ["abcd-efgh-ijkl-mnop", "ABCDEFGHIJKLMNOP", " abcd efgh ijkl mnop\n", "ab-cd-ef-gh-ij-kl-mn-0p"]
)
def test_code_is_read_as_people_type_it(text: str) -> None:
    """Letter case, spaces and hyphens don't matter, and what the alphabet lacks is read as what it looks like."""
    assert parse_recovery_code(text) == "abcdefghijklmnop"


@pytest.mark.parametrize("text", ["", " - ", "abcd", "abcd-efgh-ijkl-mno9", "abcd-efgh-ijkl-mnop-q", "ä" * 16])
def test_what_is_no_code_is_told(text: str) -> None:
    """A text of another length or with other letters is no recovery code."""
    (violation,) = violations_of(parse_recovery_code, text)
    assert violation.field == "recovery_code"
