"""`authsvc serve` with one process: how it starts, fails to start, and ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import Mailbox
from tests.cli.certificates import issue
from tests.cli.command import COMPLETE, authsvc
from tests.client import Client
from tests.processes import DEAR_HASHES, ServerProcess, environment, serving
from tests.waiting import PATIENCE


def test_a_taken_port_is_told() -> None:
    """A port that another program listens on ends the command with 1 and a line that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = authsvc("serve", settings=COMPLETE | {"AUTHSVC_SERVER_PORT": str(port)})
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: port {port} of 127.0.0.1 is taken by another program: stop that, or choose another by"
        " AUTHSVC_SERVER_PORT\n"
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("nobody.invalid", "cannot listen on nobody.invalid: ")],
)
def test_an_address_of_another_machine_is_told(host: str, reason: str) -> None:
    """A host that is not this machine's ends the command with 1 and the reason."""
    done = authsvc("serve", settings=COMPLETE | {"AUTHSVC_SERVER_HOST": host})
    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_grpc_refuses_is_told(workers: str, tmp_path: Path) -> None:
    """What only gRPC finds wrong at its start ends the command with 1, with one process and with several."""
    # A curve that OpenSSL knows and gRPC's TLS library does not.
    odd = issue(tmp_path / "odd", "odd.example", curve=ec.SECP256K1)
    files = {
        "AUTHSVC_SERVER_TLS_CERTIFICATE_FILE": str(odd.certificate_file),
        "AUTHSVC_SERVER_TLS_KEY_FILE": str(odd.key_file),
    }
    done = authsvc("serve", "--workers", workers, settings=COMPLETE | files)
    assert done.returncode == 1
    assert "Error: cannot listen on 127.0.0.1:" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6_addresses_may_have_brackets(host: str, tmp_path: Path) -> None:
    """An IPv6 address is listened on, with or without brackets around it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with ServerProcess(COMPLETE | {"AUTHSVC_SERVER_HOST": host}, tmp_path / "log") as server:
        socket.create_connection(("::1", server.port)).close()


async def test_a_second_signal_ends_it_at_once(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """The first SIGTERM waits for the calls in flight; the second does not."""
    settings = environment(database_url, master_key=master_key.line(), smtp_port=1, **DEAR_HASHES)
    server = ServerProcess(settings, tmp_path / "log")
    async with serving(server):
        client = Client(server.stub, Mailbox(folder=tmp_path))
        calls = [asyncio.ensure_future(client.sign_up(f"user-{number}")) for number in range(12)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        server.send(signal.SIGTERM)
        await server.wait_for_event("draining")
        server.send(signal.SIGTERM)
        begin = time.monotonic()
        assert await server.wait() == -signal.SIGTERM
        assert time.monotonic() - begin < PATIENCE / 2
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(answer, Exception) for answer in answers)
