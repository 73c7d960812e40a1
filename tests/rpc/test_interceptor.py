"""What is around every call: request ids, sizes, deadlines, cancellation, and the fence before the caller."""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.config import Settings
from authsvc.rpc.server import SPARE_BYTES
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Failure, Service, fails, failure_of
from tests.waiting import until

REQUEST_ID = "authsvc-request-id"
SIGN_UP = "/authsvc.v1.AuthService/SignUp"
REFRESH = "/authsvc.v1.AuthService/RefreshSession"


def raw(service: Service, method: str) -> Any:
    """Return a method that takes and gives bytes."""
    return service.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)


async def send(service: Service, method: str, message: bytes, **options: Any) -> Failure | None:
    """Send raw bytes to a method; return what its status says, or None if it succeeded."""
    try:
        await raw(service, method)(message, **options)
    except grpc.aio.AioRpcError as error:
        return failure_of(error)
    return None


async def trailers(call: Any) -> dict[str, str | bytes]:
    """Return the trailers of a finished call."""
    return dict(await call.trailing_metadata())


def counted(service: Service, method: str, reason: str) -> float:
    """Return how many calls of a method ended with a reason."""
    labels = {"method": method, "reason": reason}
    return service.metrics.registry.get_sample_value("authsvc_rpcs_total", labels) or 0


@pytest.fixture
async def postgres_admin(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the database beside the service."""
    connection = await asyncpg.connect(settings.database.url.get_secret_value())
    yield connection
    await connection.close()


@pytest.mark.parametrize("given", ["a", "A-1_b.c", "x" * 64])
async def test_request_id_of_the_caller_is_sent_back(service: Service, given: str) -> None:
    """A caller's request id is in the trailers of a success, and in trailers and details of a failure."""
    call = service.stub.GetSigningKeys(pb.GetSigningKeysRequest(), metadata=[(REQUEST_ID, given)])
    await call
    assert (await trailers(call))[REQUEST_ID] == given
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=[(REQUEST_ID, given)])
    assert failure_of(failed.value).metadata["request_id"] == given
    assert (failed.value.trailing_metadata() or {})[REQUEST_ID] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "two words", "a/b", '{"a":1}'])
async def test_request_id_is_made_up_if_there_is_none_fit_for_logs(service: Service, given: str | None) -> None:
    """Without a request id, or with one that could confuse a log, the call gets a UUID."""
    metadata = [] if given is None else [(REQUEST_ID, given)]
    async with fails("TOKEN_INVALID") as failures:
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=metadata)
    assert UUID(failures[0].metadata["request_id"]).version == 4


async def test_call_is_logged_and_counted_by_its_outcome(service: Service) -> None:
    """Each call is one line with method, reason and request id, and one on its counter."""
    before = counted(service, "RefreshSession", "TOKEN_INVALID")
    with capture_logs() as logs:
        async with fails("TOKEN_INVALID"):
            await service.stub.RefreshSession(
                pb.RefreshSessionRequest(refresh_token="secret"), metadata=[(REQUEST_ID, "mine")]
            )
    (line,) = [line for line in logs if line["event"] == "rpc" and line["request_id"] == "mine"]
    assert (line["method"], line["reason"], line["log_level"]) == ("RefreshSession", "TOKEN_INVALID", "info")
    assert "secret" not in str(logs)
    assert counted(service, "RefreshSession", "TOKEN_INVALID") == before + 1


async def test_unknown_method_is_answered_by_grpc_and_leaves_no_trace(service: Service) -> None:
    """What is not there is UNIMPLEMENTED, and makes no metric that strangers could fill the memory with."""
    for method in ("/authsvc.v1.AuthService/Nonsense", "/authsvc.v9.Other/SignIn", "/x/y"):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await raw(service, method)(b"")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert counted(service, "Nonsense", "CANCELLED") == 0


# The fence: a fault inside, forced by rows that the service never writes.


# An account of a status that the protos don't have.
BREAK_ADA = """
alter table users drop constraint users_status_check;
update users set status = 'hunter2' where username_key = 'ada';
"""


async def test_fault_is_internal_and_says_nothing_of_its_cause(
    service: Service, postgres_admin: asyncpg.Connection
) -> None:
    """A fault is answered with "internal error", the request id and nothing else; its place is logged."""
    ada = await service.enrolled()
    await postgres_admin.execute(BREAK_ADA)
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as failed:
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=[*ada.bearer, (REQUEST_ID, "request-7")])
    assert failure_of(failed.value) == Failure(
        grpc.StatusCode.INTERNAL, "internal error", "INTERNAL", {"request_id": "request-7"}, [], None
    )
    assert "hunter2" not in repr(failed.value)
    assert "hunter2" not in str(failed.value.trailing_metadata())
    (fault,) = [line for line in logs if line["event"] == "fault"]
    assert (fault["method"], fault["request_id"], fault["log_level"]) == ("GetCurrentUser", "request-7", "error")
    assert isinstance(fault["exc_info"], ValueError)
    assert counted(service, "GetCurrentUser", "INTERNAL") == 1


async def test_secret_moved_from_another_account_is_a_fault(
    service: Service, postgres_admin: asyncpg.Connection
) -> None:
    """A TOTP secret that was copied into another account's row proves nothing: it does not open there."""
    ada, bob = await service.enrolled("ada"), await service.enrolled("bob")
    await postgres_admin.execute(
        "update totp_devices set sealed_secret = (select sealed_secret from totp_devices where user_id = $1)"
        " where user_id = $2",
        UUID(ada.user_id),
        UUID(bob.user_id),
    )
    service.next_totp_step()
    started = await service.sign_in("bob")
    async with fails("INTERNAL") as failures:
        await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(ada.secret))
        )
    assert failures[0].text == "internal error"


async def test_service_goes_on_after_a_fault(service: Service, postgres_admin: asyncpg.Connection) -> None:
    """A fault in one account's data disturbs nobody else."""
    ada, bob = await service.enrolled("ada"), await service.enrolled("bob")
    await postgres_admin.execute(BREAK_ADA)
    for _ in range(3):
        async with fails("INTERNAL"):
            await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=ada.bearer)
    seen = await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=bob.bearer)
    assert seen.username == "bob"


# Messages


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff\xff",
        b"\x0a\x05ab",  # a text of five bytes, of which two are there
        b"\x0a\x02\xff\xfe",  # a text that is no UTF-8
        b"\x0a\x03\xed\xa0\x80",  # a lone surrogate
        b"\x0b",  # a group that never ends
        b"\x00",
    ],
)
async def test_message_that_is_none_is_an_error_of_the_caller(service: Service, message: bytes) -> None:
    """Bytes that are no protobuf message, or hold a text that is no UTF-8, are INVALID_FIELDS."""
    failure = await send(service, SIGN_UP, message)
    assert failure is not None
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS")
    assert failure.violations == [("", "MESSAGE_FORMAT")]


async def test_unknown_fields_are_no_error(service: Service) -> None:
    """A caller with a newer proto is understood as far as this one goes."""
    message = pb.RefreshSessionRequest(refresh_token="x").SerializeToString() + b"\xa2\x06\x03new"
    failure = await send(service, REFRESH, message)
    assert failure is not None
    assert failure.reason == "TOKEN_INVALID"


def refresh_of(size: int) -> bytes:
    """Return a message of exactly so many bytes."""
    message = pb.RefreshSessionRequest(refresh_token="x" * size).SerializeToString()
    message = pb.RefreshSessionRequest(refresh_token="x" * (2 * size - len(message))).SerializeToString()
    assert len(message) == size
    return message


async def test_message_over_the_setting_is_an_error_of_the_caller(service: Service) -> None:
    """A message of the greatest size is read; one byte more is refused by its size, whatever is in it."""
    most = service.settings.server.max_message_bytes
    fits, over, further_over = [
        await send(service, REFRESH, refresh_of(size)) for size in (most, most + 1, most + SPARE_BYTES)
    ]
    assert fits is not None
    assert over is not None
    assert further_over is not None
    assert fits.violations == [("refresh_token", "LENGTH")]
    assert over.reason == further_over.reason == "INVALID_FIELDS"
    assert over.violations == further_over.violations == [("", "MESSAGE_SIZE")]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("beyond", [1, 8 * 1024 * 1024])
async def test_message_far_over_the_setting_is_refused_by_the_transport(
    service: Service, compression: grpc.Compression, beyond: int
) -> None:
    """What is further over never gets to a handler, nor does what unpacks to more than that."""
    size = service.settings.server.max_message_bytes + SPARE_BYTES + beyond
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await raw(service, REFRESH)(b"\0" * size, compression=compression)
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await service.stub.GetSigningKeys(pb.GetSigningKeysRequest())).keys


async def test_request_without_a_message_is_an_error_of_the_caller(service: Service) -> None:
    """A call of one message that ends without it is told so."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await service.channel.stream_unary(REFRESH, request_serializer=bytes, response_deserializer=bytes)(iter([]))
    assert failure_of(failed.value).violations == [("", "MESSAGE_FORMAT")]


# Deadlines and cancellation


def sign_up_request(username: str) -> pb.SignUpRequest:
    """Return a sign-up that would succeed."""
    return pb.SignUpRequest(username=username, password=PASSWORD, attributes={"email": f"{username}@example.com"})


async def test_call_that_cannot_finish_in_time_is_refused_before_its_work(service: Service, database: Database) -> None:
    """A deadline shorter than a hash takes, by the server's own reckoning, is refused before anything is done."""

    async def is_refused_by_the_server() -> bool:
        # The client's own clock may end the call first.
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await service.stub.SignUp(sign_up_request("ada"), timeout=0.045)
        assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return counted(service, "SignUp", "DEADLINE_EXCEEDED") > 0

    await until(is_refused_by_the_server)
    assert await database.fetchval("select count(*) from users") == 0
    assert await database.fetchval("select count(*) from rate_windows") == 0


async def test_handler_that_outlives_the_servers_limit_is_ended(run: Run, database: Database) -> None:
    """A call that hangs in the database is DEADLINE_EXCEEDED at the server's own limit, and undone."""
    async with run(server={"request_timeout": 1}) as service, database.transaction() as holder:
        await holder.execute("lock table users in access exclusive mode")
        started = time.monotonic()
        async with fails("DEADLINE_EXCEEDED") as failures:
            await service.stub.SignUp(sign_up_request("ada"))
        assert 1 <= time.monotonic() - started < 10
        assert failures[0].code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await database.fetchval("select count(*) from users") == 0


async def test_cancelled_call_leaves_nothing_behind(service: Service, database: Database) -> None:
    """A caller that goes away in the middle of a sign-up leaves no account, no mail and no transaction."""
    async with database.transaction() as holder:
        await holder.execute("lock table passwords in access exclusive mode")
        call = service.stub.SignUp(sign_up_request("ada"))
        waiting = "select exists (select from pg_locks where not granted and relation = 'passwords'::regclass)"
        await until(lambda: holder.fetchval(waiting))
        call.cancel()

        async def is_counted() -> bool:
            return counted(service, "SignUp", "CANCELLED") == 1

        await until(is_counted)
    for count in ("users", "passwords", "codes", "outbox"):
        assert await database.fetchval(f"select count(*) from {count}") == 0  # noqa: S608 - a name from the line above
    assert (await service.sign_up("ada")).user_id
