"""Who may call AdminService: told before anything that a call brings is looked at, for every method there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.config import Settings
from authsvc.core.operators.identity import AdminKeys
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from tests.admin.operator import KEY, Operator
from tests.cli.certificates import issue
from tests.clock import FakeClock
from tests.rpc.conftest import changed
from tests.rpc.every_method import Metadata, Method, admin_methods, filled, methods
from tests.rpc.running import running
from tests.service import Service, bearer, fails

NOISE = b"\xff\xff\xff"
YEAR = timedelta(days=365)


def hostile_bodies(method: Method) -> list[bytes]:
    """Return messages that are refused, or do something, for a caller who may call."""
    filled_in = [message.SerializeToString() for message in filled(method.request(), "ada", 9_999)]
    return [b"", NOISE, b"\0" * 80_000, *filled_in]


async def outcomes(service: Service, metadata: Metadata, bodies: Sequence[bytes] | None = None) -> set[str]:
    """Call every method with these bodies, or with hostile ones, and return how the calls ended."""
    return {
        await method.call(service.channel, body, metadata)
        for method in admin_methods()
        for body in bodies or hostile_bodies(method)
    }


async def test_nobody_without_a_key_learns_more_than_that(service: Service, database: Database) -> None:
    """Without a key every method is PERMISSION_DENIED whatever the message is, and the database is not asked."""
    await service.confirmed("ada")
    before = await database.fetchval("select count(*) from audit_events")
    assert await outcomes(service, ()) == {"PERMISSION_DENIED"}
    assert await outcomes(service, [(KEY, "")], [b"", NOISE]) == {"PERMISSION_DENIED"}
    assert await database.fetchval("select count(*) from audit_events") == before
    assert await database.fetchval("select count(*) from users") == 1


async def test_what_is_no_admin_key_opens_nothing(service: Service, key: str, admin_keys: AdminKeys) -> None:
    """A wrong key, a part of one, its digest or a user's tokens, anywhere, are as good as none."""
    ada = await service.enrolled()
    tries: list[list[tuple[str, str]]] = [
        [(KEY, "x" * 4000)],
        [(KEY, key[:-1])],
        [(KEY, key + "A")],
        [(KEY, key.upper())],
        [(KEY, f"Bearer {key}")],
        [("authorization", f"Bearer {key}")],
        ada.bearer,
        [(KEY, ada.tokens.access_token)],
        [(KEY, ada.tokens.refresh_token)],
        # A key given twice is as good as none.
        [(KEY, key), (KEY, "x")],
        [(KEY, key), (KEY, key)],
    ]
    for metadata in tries:
        assert await outcomes(service, metadata, [NOISE]) == {"PERMISSION_DENIED"}, metadata


async def test_who_may_not_call_is_told_so_before_a_wrong_client_address(run_trusting: Service) -> None:
    """Even the metadata of a call without a key is not looked at."""
    metadata = [("authsvc-client-ip", "nonsense")]
    assert await outcomes(run_trusting, metadata, [b""]) == {"PERMISSION_DENIED"}


async def test_a_key_opens_every_method(service: Service, key: str) -> None:
    """With a key each method goes on to look at its message."""
    seen = await outcomes(service, [(KEY, key)], [NOISE])
    assert seen == {"INVALID_FIELDS"}


async def test_an_admin_key_is_no_users_token(service: Service, key: str) -> None:
    """With an admin key alone nobody is signed in to AuthService."""
    (current,) = [method for method in methods() if str(method) == "GetCurrentUser"]
    for metadata in ([(KEY, key)], bearer(key)):
        assert await current.call(service.channel, b"", metadata) == "TOKEN_INVALID"


async def test_a_key_ends_when_it_was_to(
    service: Service, admin_keys: AdminKeys, clock: FakeClock, database: Database
) -> None:
    """A key opens until the tick before its end, and at its end no more; its use after that is in the audit trail."""
    made = await admin_keys.create("short", timedelta(days=1), scopes=[AdminScope.ALL])
    assert made is not None
    key, expires_at = made
    operator = Operator(service.channel, key)
    clock.advance(expires_at - clock.now() - timedelta(microseconds=1))
    await operator.list()
    clock.advance(timedelta(microseconds=1))
    async with fails("PERMISSION_DENIED"):
        await operator.list()
    events = await database.fetch("select actor, result from audit_events where kind = 'ADMIN_REFUSED'")
    assert [tuple(event) for event in events] == [("operator:short", "FAILURE")]


async def test_tries_of_a_key_that_has_ended_are_recorded_once_an_hour(
    service: Service, operator: Operator, admin_keys: AdminKeys, clock: FakeClock, database: Database
) -> None:
    """The first try after the end is recorded, right after a use too; whoever goes on can't fill the audit trail."""
    count = "select count(*) from audit_events where kind = 'ADMIN_REFUSED'"
    await operator.list()
    clock.advance(timedelta(seconds=1))
    assert await admin_keys.revoke("ops")
    clock.advance(timedelta(seconds=1))

    async def be_refused() -> None:
        async with fails("PERMISSION_DENIED"):
            await operator.list()

    await asyncio.gather(*(be_refused() for _ in range(5)))
    assert await database.fetchval(count) == 1
    clock.advance(timedelta(hours=1) - timedelta(microseconds=1))
    await be_refused()
    assert await database.fetchval(count) == 1
    clock.advance(timedelta(microseconds=1))
    await be_refused()
    assert await database.fetchval(count) == 2


async def test_a_revoked_key_opens_nothing_from_there_on(
    service: Service, operator: Operator, admin_keys: AdminKeys
) -> None:
    """Revoking a key is seen by the next call; the others stay, and the name is used up."""
    other = await admin_keys.create("other", YEAR, scopes=[AdminScope.ALL])
    assert other is not None
    await operator.list()
    assert await admin_keys.revoke("ops")
    async with fails("PERMISSION_DENIED") as failures:
        await operator.list()
    assert failures[0].code is grpc.StatusCode.PERMISSION_DENIED
    await Operator(service.channel, other[0]).list()
    assert await admin_keys.create("ops", YEAR, scopes=[AdminScope.ALL]) is None
    assert not await admin_keys.revoke("nobody")


async def test_the_last_use_of_a_key_is_known_to_the_hour(
    operator: Operator, admin_keys: AdminKeys, clock: FakeClock
) -> None:
    """The first use is noted, and then one in an hour."""
    assert (await admin_keys.list_all())[0].last_used_at is None
    await operator.list()
    first = (await admin_keys.list_all())[0].last_used_at
    assert first == clock.now()
    clock.advance(timedelta(minutes=59))
    await operator.list()
    assert (await admin_keys.list_all())[0].last_used_at == first
    clock.advance(timedelta(minutes=1))
    await operator.list()
    assert (await admin_keys.list_all())[0].last_used_at == clock.now()


async def test_a_key_is_nowhere_but_with_its_owner(operator: Operator, key: str, database: Database) -> None:
    """Neither the database nor the log holds a key."""
    with capture_logs() as logs:
        await operator.list()
    stored = str(await database.fetch("select * from admin_keys"))
    assert "ops" in stored
    assert key not in stored + str(logs)


async def test_a_certificate_of_the_settings_opens_and_names_its_operator(
    settings: Settings, clock: FakeClock, tmp_path: Path, database: Database
) -> None:
    """A client certificate with a name of `admin.identities` needs no key; any other certificate does."""
    ca = issue(tmp_path / "ca")
    server_files = issue(tmp_path / "server", "localhost", issuer=ca)
    named = changed(
        settings,
        server={
            "tls_certificate_file": server_files.certificate_file,
            "tls_key_file": server_files.key_file,
            "tls_client_ca_file": ca.certificate_file,
        },
        admin={"identities": "dns:console.example.com=users+support, cn:web.example.com"},
    )
    console = issue(tmp_path / "console", "console.example.com", issuer=ca)
    web = issue(tmp_path / "web", "web.example.com", issuer=ca)
    async with running(named, clock) as server:
        for client, is_operator in ((console, True), (web, False)):
            credentials = grpc.ssl_channel_credentials(
                ca.certificate_file.read_bytes(), client.key_file.read_bytes(), client.certificate_file.read_bytes()
            )
            async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
                operator = Operator(channel, "none")
                request = pb.CreateGroupRequest(name="editors")
                if is_operator:
                    await operator.call("CreateGroup", request)
                else:
                    async with fails("PERMISSION_DENIED"):
                        await operator.call("CreateGroup", request)
    actors = await database.fetchval("select array_agg(actor) from audit_events")
    assert actors == ["operator:certificate:dns:console.example.com"]


@pytest.mark.parametrize("text", ["\0", "\U0010ffff", "9" * 60_000, "a\r\nb: c", "'; drop table users; --", "", " "])
async def test_hostile_text_of_an_operator_is_answered_with_typed_errors(
    service: Service, operator: Operator, text: str
) -> None:
    """An operator too gets a typed error or a success for any text and any number in any field."""
    await operator.create()
    for method in admin_methods():
        for number in (-1, 2**31 - 1, 0):
            for message in filled(method.request(), text, number):
                await method.call(service.channel, message.SerializeToString(), operator.metadata)
                if "user" in message.DESCRIPTOR.oneofs_by_name:
                    setattr(message, "username", "ada")  # noqa: B010  # which kind of message it is only the test knows
                    await method.call(service.channel, message.SerializeToString(), operator.metadata)
