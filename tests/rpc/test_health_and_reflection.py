"""What probes and tools ask of the server: whether it serves, and what."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from authsvc.app import READINESS_INTERVAL
from authsvc.config import Settings
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import FakeClock
from tests.conftest import TEMPLATE
from tests.rpc.conftest import changed
from tests.rpc.running import Running, health_of, running, stub_of
from tests.service import fails
from tests.waiting import until

AUTH_SERVICE = "authsvc.v1.AuthService"
ADMIN_SERVICE = "authsvc.v1.AdminService"
Health = health_pb2.HealthCheckResponse


async def until_health_is(channel: grpc.aio.Channel, wanted: str, clock: FakeClock) -> None:
    """Return once the server and both of its services have a health, letting time pass."""

    async def is_so() -> bool:
        clock.advance(READINESS_INTERVAL)
        return [await health_of(channel, service) for service in ("", AUTH_SERVICE, ADMIN_SERVICE)] == [wanted] * 3

    await until(is_so)


@pytest.fixture
async def server(settings: Settings, clock: FakeClock) -> AsyncIterator[Running]:
    """Run a server."""
    async with running(settings, clock) as server:
        yield server


async def test_server_serves_once_it_can(server: Running, clock: FakeClock) -> None:
    """With the database there and the schema in place the server and its service are SERVING, and answer."""
    async with server.channel() as channel:
        await until_health_is(channel, "SERVING", clock)
        assert (await stub_of(channel).GetSigningKeys(pb.GetSigningKeysRequest())).keys


async def test_service_that_is_not_there_is_unknown(server: Running) -> None:
    """Asking for the health of a service that the server does not have is NOT_FOUND."""
    async with server.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await health_of(channel, "authsvc.v1.AnotherService")
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_server_waits_for_its_schema(server: Running, clock: FakeClock, database: Database) -> None:
    """While a migration that this version needs is missing the server is NOT_SERVING, and serves when it is there."""
    async with server.channel() as channel:
        await until_health_is(channel, "SERVING", clock)
        last = "select max(version) from schema_migrations"
        version = await database.fetchval(last)
        await database.execute(f"delete from schema_migrations where version = ({last})")  # noqa: S608 - from above
        await until_health_is(channel, "NOT_SERVING", clock)
        await database.execute("insert into schema_migrations values ($1), ('9999')", version)
        await until_health_is(channel, "SERVING", clock)


async def test_server_waits_for_its_database(postgres: EmbeddedPostgres, settings: Settings, clock: FakeClock) -> None:
    """Started before its database, and when that goes away, the server is NOT_SERVING, and serves when it is back."""
    url = settings.database.url.get_secret_value()
    name = url.rpartition("/")[2].partition("?")[0] + "_later"
    later = changed(settings, database={"url": postgres.dsn(name), "acquire_timeout": 1})
    admin = await asyncpg.connect(postgres.dsn())
    async with running(later, clock) as server, server.channel() as channel:
        for _ in range(2):
            await until_health_is(channel, "NOT_SERVING", clock)
            async with fails("DATABASE_UNAVAILABLE") as failures:
                await stub_of(channel).ResetPassword(pb.ResetPasswordRequest(username="ada"))
            assert failures[0].code is grpc.StatusCode.UNAVAILABLE
            assert failures[0].retry_after
            await admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
            await until_health_is(channel, "SERVING", clock)
            await admin.execute(f"drop database {name} with (force)")
    await admin.close()


async def test_watchers_hear_of_the_end_before_it_comes(server: Running, clock: FakeClock) -> None:
    """Who watches hears NOT_SERVING when the server begins to drain, and does not keep it from ending."""
    async with server.channel() as channel:
        await until_health_is(channel, "SERVING", clock)
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service=AUTH_SERVICE))
        assert await watch.read() == Health(status=Health.SERVING)
        server.stop.set()
        assert await watch.read() == Health(status=Health.NOT_SERVING)
        async with asyncio.timeout(10):
            await asyncio.wait({server.task})
        assert await watch.read() is grpc.aio.EOF


async def test_health_needs_no_credentials_and_says_nothing_else(server: Running) -> None:
    """A probe is answered without a token, and its answer has no trailers of ours."""
    async with server.channel() as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        await call
        assert not list(await call.trailing_metadata() or ())


async def ask(
    channel: grpc.aio.Channel, question: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """Ask the server about itself."""
    call = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([question]))
    response = await call.read()
    assert isinstance(response, reflection_pb2.ServerReflectionResponse)
    return response


LIST_SERVICES = reflection_pb2.ServerReflectionRequest(list_services="")
FIND_SERVICE = reflection_pb2.ServerReflectionRequest(file_containing_symbol=AUTH_SERVICE)


async def test_reflection_is_off_unless_it_is_asked_for(server: Running) -> None:
    """By default the server tells nobody what it serves."""
    async with server.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ask(channel, LIST_SERVICES)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reflection_tells_the_services_and_their_protos(settings: Settings, clock: FakeClock) -> None:
    """With the setting on, a tool learns the services, and every message from the service's own file."""
    async with running(changed(settings, server={"reflection": True}), clock) as server, server.channel() as channel:
        listed = await ask(channel, LIST_SERVICES)
        assert {service.name for service in listed.list_services_response.service} == {
            AUTH_SERVICE,
            ADMIN_SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        found = await ask(channel, FIND_SERVICE)
        files = [FileDescriptorProto.FromString(each) for each in found.file_descriptor_response.file_descriptor_proto]
        methods = {method.name for each in files for service in each.service for method in service.method}
        assert methods == {method.name for method in pb.DESCRIPTOR.services_by_name["AuthService"].methods}
