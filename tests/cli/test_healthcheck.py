"""`authsvc healthcheck` against servers in every state."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from authsvc.cli.client import address_of
from authsvc.config import ServerSettings
from authsvc.crypto.certificates import server_name_of
from authsvc.crypto.sealing import MasterKey
from authsvc.dev.postgres import EmbeddedPostgres
from tests.cli.certificates import Issued, issue
from tests.cli.command import authsvc
from tests.processes import ServerProcess, environment, free_port
from tests.waiting import until


@pytest.fixture
def settings(database_url: str, master_key: MasterKey) -> dict[str, str]:
    """Make settings of a server on this test's database."""
    changes = {"SERVER_PORT": str(free_port())}
    return environment(database_url, master_key=master_key.line(), smtp_port=1, **changes)


async def check(server: ServerProcess, *arguments: str) -> tuple[int, str]:
    """Return the exit code of the command, run with the server's settings, and what it said."""
    done = authsvc("healthcheck", *arguments, settings=server.environment)
    return done.returncode, (done.stdout + done.stderr).strip()


async def wait_until_healthy(server: ServerProcess, *arguments: str) -> None:
    """Return once the command succeeds."""

    async def is_healthy() -> bool:
        code, _ = await check(server, *arguments)
        return code == 0

    await until(is_healthy)


async def test_a_serving_server_is_healthy(settings: dict[str, str], tmp_path: Path) -> None:
    """The command succeeds for the server that the settings describe, and for the one at an address."""
    async with ServerProcess(settings, tmp_path / "log") as server:
        await server.wait_for_health("SERVING")
        own = f"127.0.0.1:{server.port}"
        assert await check(server) == (0, f"{own}: SERVING")
        server.environment["AUTHSVC_SERVER_PORT"] = "0"
        assert await check(server, "--address", own) == (0, f"{own}: SERVING")


async def test_a_server_that_listens_on_all_addresses_is_asked_on_loopback(
    settings: dict[str, str], tmp_path: Path
) -> None:
    """0.0.0.0 is where a server listens, not where it is asked; such a server also warns that it has no TLS."""
    async with ServerProcess(settings | {"AUTHSVC_SERVER_HOST": "0.0.0.0"}, tmp_path / "log") as server:
        await wait_until_healthy(server)
        assert "no TLS: passwords and tokens are readable" in server.log()


async def test_a_server_without_its_schema_is_not_healthy(
    postgres: EmbeddedPostgres, settings: dict[str, str], tmp_path: Path
) -> None:
    """The command fails with NOT_SERVING while the database has no schema."""
    async with ServerProcess(settings | {"AUTHSVC_DATABASE_URL": postgres.dsn()}, tmp_path / "log") as server:
        await server.wait_for_event("not serving")
        assert await check(server) == (1, f"Error: 127.0.0.1:{server.port}: NOT_SERVING")


def test_nobody_is_not_healthy() -> None:
    """The command fails, and says why, where nothing listens."""
    done = authsvc("healthcheck", "--address", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "UNAVAILABLE" in done.stderr


def test_a_silent_server_is_not_healthy() -> None:
    """The command gives up on a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        done = authsvc("healthcheck", "--address", f"127.0.0.1:{silent.getsockname()[1]}")
        assert done.returncode == 1
        assert time.monotonic() - begin < 3 + 5


def test_any_port_needs_an_address() -> None:
    """With port 0 in the settings the command asks for an address instead of guessing."""
    done = authsvc("healthcheck", settings={"AUTHSVC_SERVER_PORT": "0"})
    assert done.returncode == 2
    assert "--address" in done.stderr


@pytest.fixture
def authority(tmp_path: Path) -> Issued:
    """Make a certificate authority."""
    return issue(tmp_path / "authority")


def tls(certificate: Issued) -> dict[str, str]:
    """Return the settings that turn TLS on."""
    return {
        "AUTHSVC_SERVER_TLS_CERTIFICATE_FILE": str(certificate.certificate_file),
        "AUTHSVC_SERVER_TLS_KEY_FILE": str(certificate.key_file),
    }


async def test_tls_is_checked_by_the_servers_own_certificate(
    settings: dict[str, str], authority: Issued, tmp_path: Path
) -> None:
    """The server's certificate, for another name than the address, is enough; another certificate is refused."""
    own = issue(tmp_path / "own", "auth.example.com", issuer=authority)
    other = issue(tmp_path / "other", "auth.example.com", issuer=authority)
    async with ServerProcess(settings | tls(own), tmp_path / "log") as server:
        await wait_until_healthy(server)
        server.environment |= tls(other)
        code, said = await check(server)
        assert code == 1
        assert "UNAVAILABLE" in said


async def test_a_server_that_asks_for_certificates_is_shown_its_own(
    settings: dict[str, str], authority: Issued, tmp_path: Path
) -> None:
    """With mTLS the command shows the server's certificate, which its authority has issued."""
    settings |= tls(issue(tmp_path / "own", "*.example.com", issuer=authority))
    settings["AUTHSVC_SERVER_TLS_CLIENT_CA_FILE"] = str(authority.certificate_file)
    async with ServerProcess(settings, tmp_path / "log") as server:
        await wait_until_healthy(server)
        del server.environment["AUTHSVC_SERVER_TLS_CLIENT_CA_FILE"]
        code, _ = await check(server)
        assert code == 1


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:7"),
        ("0.0.0.0", "localhost:7"),
        ("[::]", "localhost:7"),
        ("::1", "[::1]:7"),
        ("[::1]", "[::1]:7"),
        ("auth.internal", "auth.internal:7"),
    ],
)
def test_address_is_reachable_and_well_formed(host: str, address: str) -> None:
    """What a server listens on becomes an address that gRPC can connect to."""
    assert address_of(ServerSettings(host=host, port=7)) == address


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["auth.example.com", "10.0.0.1"], "auth.example.com"),
        (["*.example.com"], "any.example.com"),
        (["10.0.0.1"], "10.0.0.1"),
        (["::1"], "::1"),
    ],
)
def test_name_is_one_that_the_certificate_is_valid_for(names: list[str], name: str, tmp_path: Path) -> None:
    """The name to check a certificate by is its first DNS name, or its address."""
    assert server_name_of(issue(tmp_path / "own", *names).certificate_file.read_bytes()) == name


def test_a_certificate_without_names_is_told(tmp_path: Path) -> None:
    """A certificate that names no server, or is none, is an error in words."""
    with pytest.raises(ValueError, match="no subject alternative name"):
        server_name_of(issue(tmp_path / "own").certificate_file.read_bytes())
    with pytest.raises(ValueError, match="PEM"):
        server_name_of(b"text")
