"""TLS and mutual TLS, and trust in callers by their certificate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from authsvc.config import Settings
from authsvc.rpc.server import TransportError
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.cli.certificates import Issued, issue
from tests.clock import FakeClock
from tests.rpc.conftest import changed
from tests.rpc.running import Running, running, stub_of

ADDRESS = "192.0.2.7"
CLIENT_ADDRESS = [("authsvc-client-ip", ADDRESS)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder for certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ca(certificates: Path) -> Issued:
    """Make the authority that server and clients trust."""
    return issue(certificates / "ca")


@pytest.fixture(scope="module")
def server_certificate(certificates: Path, ca: Issued) -> Issued:
    """Make the server's certificate."""
    return issue(certificates / "server", "localhost", issuer=ca)


@pytest.fixture
def tls(settings: Settings, server_certificate: Issued) -> Settings:
    """Return settings with TLS."""
    files: dict[str, object] = {
        "tls_certificate_file": server_certificate.certificate_file,
        "tls_key_file": server_certificate.key_file,
    }
    return changed(settings, server=files)


@pytest.fixture
def mutual_tls(tls: Settings, ca: Issued) -> Settings:
    """Return settings with mutual TLS."""
    return changed(tls, server={"tls_client_ca_file": ca.certificate_file})


@asynccontextmanager
async def channel_to(server: Running, ca: Issued, client: Issued | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """Connect by TLS, with a client's certificate if there is one."""
    credentials = grpc.ssl_channel_credentials(
        ca.certificate_file.read_bytes(),
        client.key_file.read_bytes() if client else None,
        client.certificate_file.read_bytes() if client else None,
    )
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        yield channel


async def call(channel: grpc.aio.Channel) -> None:
    """Call a method that spends a limit of its source; GetSigningKeys does not."""
    await stub_of(channel).ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=CLIENT_ADDRESS, timeout=10)


async def is_refused(channel: grpc.aio.Channel) -> bool:
    """Tell whether the transport lets no call through."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(channel)
    return failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def sources(database: Database) -> set[str]:
    """Return the sources that calls were counted for."""
    rows = await database.fetch("select subject from rate_windows where subject !~ '^[*]|/24$' and action = 'RESET'")
    return {row["subject"] for row in rows}


async def test_calls_are_made_over_tls(tls: Settings, clock: FakeClock, ca: Issued, certificates: Path) -> None:
    """With a certificate the server speaks TLS alone, and who trusts another authority does not talk to it."""
    stranger = issue(certificates / "stranger")
    async with running(tls, clock) as server:
        async with channel_to(server, ca) as channel:
            await call(channel)
        async with channel_to(server, stranger) as channel:
            assert await is_refused(channel)
        async with server.channel() as channel:
            assert await is_refused(channel)


async def test_mutual_tls_lets_in_who_has_a_certificate_of_the_authority(
    mutual_tls: Settings, clock: FakeClock, ca: Issued, certificates: Path
) -> None:
    """With a client authority a caller needs a certificate of it; none, or one of another, is no way in."""
    friend = issue(certificates / "friend", "web.example.com", issuer=ca)
    forger = issue(certificates / "forger", "web.example.com", issuer=issue(certificates / "ca-of-forger"))
    async with running(mutual_tls, clock) as server:
        async with channel_to(server, ca, friend) as channel:
            await call(channel)
        for client in (None, forger):
            async with channel_to(server, ca, client) as channel:
                assert await is_refused(channel)


@pytest.mark.parametrize(
    ("identity", "is_trusted"),
    [
        ("dns:web.example.com", True),
        ("uri:spiffe://example.com/web", True),
        ("cn:client-by-name", True),
        # Names of one kind are none of another.
        ("cn:web.example.com", False),
        ("uri:web.example.com", False),
        ("dns:client-by-name", False),
        ("dns:spiffe://example.com/web", False),
        ("dns:192.0.2.80", False),
        ("dns:example.com", False),
        ("dns:web.example.com.", False),
        ("dns:WEB.EXAMPLE.COM", False),
    ],
)
async def test_callers_are_trusted_by_the_names_in_their_certificate(
    mutual_tls: Settings,
    clock: FakeClock,
    ca: Issued,
    certificates: Path,
    database: Database,
    identity: str,
    is_trusted: bool,
) -> None:
    """The client address of a caller is believed if a name of its certificate is in the setting, kind and letters."""
    names = ("web.example.com", "spiffe://example.com/web", "192.0.2.80")
    client = issue(certificates / "client-by-name", *names, issuer=ca)
    trusting = changed(mutual_tls, server={"trusted_callers": f"10.0.0.0/8, {identity}"})
    async with running(trusting, clock) as server, channel_to(server, ca, client) as channel:
        await call(channel)
    assert (f"source:{ADDRESS}" in await sources(database)) is is_trusted
    assert len(await sources(database)) == 1


async def test_a_trusted_caller_is_a_source_by_its_certificate(
    mutual_tls: Settings, clock: FakeClock, ca: Issued, certificates: Path, database: Database
) -> None:
    """What a trusted caller that tells no client address does is counted for the name by which it is trusted."""
    client = issue(certificates / "silent", "web.example.com", issuer=ca)
    trusting = changed(mutual_tls, server={"trusted_callers": "dns:web.example.com"})
    async with running(trusting, clock) as server, channel_to(server, ca, client) as channel:
        await stub_of(channel).ResetPassword(pb.ResetPasswordRequest(username="ada"), timeout=10)
    assert await sources(database) == {"source:caller:dns:web.example.com"}


async def test_without_a_certificate_no_name_is_believed(
    tls: Settings, clock: FakeClock, ca: Issued, database: Database
) -> None:
    """Where clients show no certificate nobody is trusted by a name."""
    trusting = changed(tls, server={"trusted_callers": "dns:web.example.com, cn:client-by-name, dns:localhost"})
    async with running(trusting, clock) as server, channel_to(server, ca) as channel:
        await call(channel)
    assert f"source:{ADDRESS}" not in await sources(database)


@pytest.mark.parametrize("content", ["", "nonsense", None])
async def test_certificate_that_cannot_be_used_is_told_at_the_start(
    tls: Settings, clock: FakeClock, tmp_path: Path, content: str | None
) -> None:
    """A missing file, and one that is no certificate, keeps the server from listening, and says so."""
    path = tmp_path / "server.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ExceptionGroup) as failed:
        async with running(changed(tls, server={"tls_certificate_file": path}), clock):
            pass
    assert failed.group_contains(TransportError, match="cannot listen on")
