"""Imported hashes tell themselves by nothing, and starve nobody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import statistics
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import asyncpg
import bcrypt
import grpc
import pytest

from authsvc.clock import monotonic
from authsvc.config import Settings
from authsvc.core.access.refusal_times import INTERVAL
from authsvc.crypto.foreign_line import ForeignBounds
from authsvc.crypto.hash_fields import HashParameters
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.errors import NotAuthorized, Overloaded
from authsvc.store import passwords
from authsvc.store.db import Database
from tests.client import at_once, reasons
from tests.clock import FakeClock
from tests.rpc.conftest import Run, run
from tests.service import PASSWORD, Service, fails, failure_of
from tests.waiting import until

__all__ = ["run"]

WRONG = "another one of 20 letters"
# Some 40 ms each here: by far dearer than the hash of the tests' own settings, and quick enough for tests.
DEAR = bcrypt.hashpw(PASSWORD.encode(), b"$2b$10$abcdefghijklmnopqrstuu").decode()


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """Make a hasher with room for two dear hashes, one of which waits."""
    made = PasswordHasher(
        parameters=HashParameters(1, 8, 1), threads=2, queue=20, foreign=ForeignBounds(threads=1, queue=1, per_source=5)
    )
    yield made
    made.close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note the passwords that bcrypt is asked about."""
    asked: list[bytes] = []
    check = bcrypt.checkpw

    def note(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", note)
    return asked


async def imported(service: Service, database: Database) -> None:
    """Make ada an account whose password another system hashed, and bob one of our own."""
    await service.confirmed("ada")
    await service.confirmed("bob")
    await database.execute(
        "update passwords set hash = $1 where user_id = (select user_id from users where username = 'ada')", DEAR
    )


async def refuse(hasher: PasswordHasher, hash_: str | None) -> None:
    """Refuse a try at a password, as the gate does.

    Raises:
        NotAuthorized: always.
    """
    async with hasher.place_for_try("source") as place:
        await place.verify(hash_, WRONG)
        raise NotAuthorized


async def seconds_of_call(call: Awaitable[Any]) -> float:
    """Have a sign-in refused; return how long that took."""
    started = monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert failure_of(refused.value).reason == "NOT_AUTHORIZED"
    return monotonic() - started


async def learned(service: Service, clock: FakeClock) -> float:
    """Return once the service has learned of dear hashes, with the seconds that refusals take."""

    def seconds() -> float:
        return service.metrics.registry.get_sample_value("authsvc_refusal_seconds") or 0

    async def is_learned() -> bool:
        clock.advance(INTERVAL)
        return seconds() > 0

    await until(is_learned)
    return seconds()


async def own_hash(hasher: PasswordHasher) -> str:
    """Hash a password by today's settings."""
    async with hasher.place() as place:
        return await place.hash(PASSWORD)


@pytest.mark.serial
async def test_refusals_take_as_long_for_any_name(service: Service, database: Database, clock: FakeClock) -> None:
    """A wrong password is refused in the same time for a dear imported hash, for one's own, and for no name at all.

    OWASP ASVS 5, 6.3.8: valid users cannot be deduced from failed authentication challenges, as by response times.
    """
    for name in ("ada", "grace"):
        await service.confirmed(name)
    await database.execute(
        "update passwords set hash = $1 where user_id = (select user_id from users where username = 'ada')", DEAR
    )
    level = await learned(service, clock)
    taken: dict[str, list[float]] = {"ada": [], "grace": [], "nobody": []}
    for _ in range(5):
        for name, each in taken.items():
            each.append(await seconds_of_call(service.sign_in(name, password=WRONG)))
            # Wrong passwords lock names: not what is asked here.
            await database.execute("delete from failures")
    medians = {name: statistics.median(each) for name, each in taken.items()}
    assert min(medians.values()) > 0.9 * level
    assert max(medians.values()) < 1.3 * min(medians.values()), medians
    started = monotonic()
    assert (await service.sign_in("grace")).session
    assert monotonic() - started < min(medians.values()), "who knows the password waits for nothing"


async def test_a_right_password_is_verified_once_and_made_anew_by_it(hasher: PasswordHasher) -> None:
    """One verification of the imported hash and one hash of one's own: what any try costs, and no more."""
    async with hasher.place_for_try("source") as place:
        verified = await place.verify(DEAR, PASSWORD)
        assert verified.is_right
        assert verified.rehashed is not None
        assert not hasher.needs_rehash(verified.rehashed)
        assert (await place.verify(verified.rehashed, PASSWORD)).is_right


@pytest.mark.parametrize("is_imported", [True, False])
@pytest.mark.parametrize("is_right", [True, False])
async def test_each_try_costs_one_hash_of_our_own(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch, is_imported: bool, is_right: bool
) -> None:
    """Right or wrong, imported or not: one job for the threads that hash for all."""
    own = await own_hash(hasher)
    jobs: Counter[str] = Counter()
    for name, executor in (("own", hasher._executor), ("foreign", hasher._foreign._executor)):
        submit = executor.submit

        def counted(work: Any, /, *args: Any, name: str = name, submit: Any = submit) -> Any:
            jobs[name] += 1
            return submit(work, *args)

        monkeypatch.setattr(executor, "submit", counted)
    async with hasher.place_for_try("source") as place:
        verified = await place.verify(DEAR if is_imported else own, PASSWORD if is_right else WRONG)
    assert verified.is_right is is_right
    assert jobs == {"own": 1} | ({"foreign": 1} if is_imported else {})


async def test_a_second_form_of_a_password_costs_every_name_twice_the_time(hasher: PasswordHasher) -> None:
    """Who types what is not normal has two forms verified where hashes are imported, and waits as long elsewhere."""
    level = (await hasher.learn([("bcrypt", DEAR)])).total_seconds()
    for hash_ in (DEAR, None):
        async with hasher.place_for_try("source") as place:
            started = monotonic()
            await place.verify(hash_, "caf\u00e9 under 9 lakes", typed="cafe\u0301 under 9 lakes")
            taken = monotonic() - started
        assert taken + place.owed.total_seconds() >= 2 * level


async def test_without_imported_hashes_nothing_waits(hasher: PasswordHasher) -> None:
    """Where every hash is by today's settings refusals come at once, and no source is held to a few at once."""
    assert await hasher.learn([("argon2id", await own_hash(hasher))]) == timedelta()
    for hash_ in (None, await own_hash(hasher)):
        async with hasher.place_for_try("source") as place:
            await place.verify(hash_, WRONG)
        assert place.owed == timedelta()


async def test_costs_that_are_gone_are_forgotten(hasher: PasswordHasher) -> None:
    """When the last imported hash has been made anew, refusals come at once again."""
    assert await hasher.learn([("bcrypt", DEAR), ("broken", "$scrypt$no")]) > timedelta()
    assert await hasher.learn([]) == timedelta()


async def test_load_is_told_by_no_name_and_forgotten(hasher: PasswordHasher) -> None:
    """What waits for others' dear hashes makes refusals slower for all, for a while."""
    quiet = await hasher.learn([("bcrypt", DEAR)])
    hasher._foreign.note(3.0)
    assert hasher._foreign.level == timedelta(seconds=3)
    async with hasher.place_for_try("source") as place:
        await place.verify(None, WRONG)
    assert place.owed == timedelta(seconds=3)
    for _ in range(20):
        level = await hasher.learn([("bcrypt", DEAR)])
    assert level - quiet < timedelta(milliseconds=1)


async def test_dear_hashes_keep_no_place_from_others(hasher: PasswordHasher) -> None:
    """While imported hashes fill their line, one's own are verified as ever; what is refused is so for any name.

    OWASP ASVS 5, 2.4.1.
    """
    await hasher.learn([("bcrypt", DEAR)])
    own = await own_hash(hasher)
    release = threading.Event()
    blocked = [hasher._foreign.submit(release.wait) for _ in range(2)]
    try:
        assert hasher._foreign.is_full
        async with hasher.place_for_try("source") as place:
            assert (await place.verify(own, PASSWORD)).is_right
        for hash_ in (DEAR, own, None):
            async with hasher.place_for_try("source") as place:
                with pytest.raises(Overloaded):
                    await place.verify(hash_, WRONG)
        # Whose code proved them guesses nothing.
        async with hasher.place() as place:
            assert not (await place.verify(own, WRONG)).is_right
    finally:
        release.set()
        await asyncio.gather(*map(asyncio.wrap_future, blocked))
    async with hasher.place_for_try("source") as place:
        assert (await place.verify(DEAR, PASSWORD)).is_right


async def test_one_source_has_a_few_tries_at_once_while_hashes_are_imported(hasher: PasswordHasher) -> None:
    """Beyond them it is refused before anything is counted, whatever the name; another source goes on."""
    await hasher.learn([("bcrypt", DEAR)])
    tries = [hasher.place_for_try("source") for _ in range(6)]
    for each in tries[:5]:
        await each.__aenter__()
    with pytest.raises(Overloaded):
        await tries[5].__aenter__()
    async with hasher.place_for_try("another"), hasher.place_for_try(""):
        pass
    for each in tries[:5]:
        await each.__aexit__(None, None, None)
    async with hasher.place_for_try("source"):
        pass


async def test_a_refusal_that_waits_holds_no_place(hasher: PasswordHasher) -> None:
    """Refused tries wait outside the queue: there may be any number of them."""
    await hasher.learn([("bcrypt", DEAR)])
    hasher._foreign.note(0.5)
    started = monotonic()
    refused = [asyncio.ensure_future(refuse(hasher, None)) for _ in range(5)]

    async def is_queue_empty() -> bool:
        return hasher.waiting == 0

    await asyncio.sleep(0)
    assert hasher.waiting == 5
    await until(is_queue_empty)
    assert not any(each.done() for each in refused)
    await asyncio.wait(refused)
    assert monotonic() - started >= 0.5
    assert all(isinstance(each.exception(), NotAuthorized) for each in refused)


async def test_a_flood_of_one_source_leaves_the_others(settings: Settings, clock: FakeClock, run: Run) -> None:
    """Fifty sign-ins at once with a dear hash: few are let in, none in vain, and another user signs in meanwhile."""
    async with run(passwords={"imported_hash_tries": 2}) as service:
        await service.confirmed("ada")
        await service.confirmed("grace")
        connection = await asyncpg.connect(settings.database.url.get_secret_value())
        await connection.execute(
            "update passwords set hash = $1 where user_id = (select user_id from users where username = 'ada')", DEAR
        )
        await connection.close()
        await learned(service, clock)
        refused = Counter(reasons(await at_once(service.sign_in("ada", password=WRONG) for _ in range(50))))
        assert set(refused) == {"OVERLOADED", "NOT_AUTHORIZED"}
        assert refused["NOT_AUTHORIZED"] <= 4
        assert (await service.sign_in("grace")).session


async def test_costs_in_use_are_found_by_jumps(database: Database, service: Service) -> None:
    """Each kind and cost is listed once, with a hash that has it; salt and hash make no other cost."""
    names = ["ada", "bob", "eve", "joe", "sue"]
    for name in names:
        await service.confirmed(name)
    pbkdf2 = base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"right", b"salt", 10)).decode().rstrip("=")
    hashes = [DEAR, DEAR[:-1] + "O", f"$pbkdf2-sha256$i=10$c2FsdA${pbkdf2}", f"$pbkdf2-sha256$i=11$c2FsdA${pbkdf2}"]
    for name, hash_ in zip(names, hashes, strict=False):
        await database.execute(
            "update passwords set hash = $1 where user_id = (select user_id from users where username = $2)",
            hash_,
            name,
        )
    costs = dict(await passwords.list_costs(database, limit=100))
    assert set(costs) == {"$2b$10", "$pbkdf2-sha256$i=10", "$pbkdf2-sha256$i=11", "$argon2id$v=19$m=8,t=1,p=1"}
    assert all(hash_.startswith(cost) for cost, hash_ in costs.items())
    plan = await database.fetch("explain " + passwords.LIST_COSTS.replace("$1", "100"))
    assert "passwords_costs" in str(plan)


async def test_imported_hash_is_verified_once(service: Service, database: Database, counted: list[bytes]) -> None:
    """However a password is typed, the imported hash is computed once for it, and never again after a right one.

    OWASP ASVS 5, 6.3.8.
    """
    await imported(service, database)
    counted.clear()
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password="re\u0301sume\u0301-under-9-lakes")
    assert len(counted) == 1
    assert (await service.sign_in("ada")).session
    assert (await service.sign_in("ada")).session
    assert len(counted) == 2


async def test_imported_hashes_wait_apart(run: Run, database: Database) -> None:
    """Tries at an imported hash find no place beyond their own few, and take none from other sign-ins.

    OWASP ASVS 5, 2.4.1: anti-automation controls protect against the exhaustion of costly work.
    """
    async with run(passwords={"imported_hash_queue": 2, "hash_queue": 10}, limits={"lock_from": 50}) as service:
        await imported(service, database)
        flood = asyncio.gather(at_once(service.sign_in("ada", password=WRONG) for _ in range(8)))
        await asyncio.sleep(0.05)
        assert (await service.sign_in("bob")).session
        refused = reasons((await flood)[0])
        assert refused.count("OVERLOADED") == 5
        assert refused.count("NOT_AUTHORIZED") == 3
