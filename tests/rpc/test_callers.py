"""On whose behalf a call is made: what is believed of the caller's words, and what the peer's address says."""

import pytest

from authsvc.rpc.call import _source_of, address_of
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.conftest import Run
from tests.service import Service, fails

CLIENT_IP = "authsvc-client-ip"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:5000", "192.0.2.1"),
        ("unix:/run/authsvc.sock", "None"),
        ("unix:", "None"),
    ],
)
def test_peer_has_the_address_that_grpc_writes(peer: str, address: str) -> None:
    """An address is read from each form of peer; IPv4 over an IPv6 socket is IPv4, and a Unix socket has none."""
    assert str(address_of(peer)) == address


@pytest.mark.parametrize(
    ("one", "other", "is_one_source"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:0:ffff::", "2001:db8::", True),
        ("2001:db8:0:1::", "2001:db8::", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_ipv6_addresses_of_one_64_are_one_source(one: str, other: str, is_one_source: bool) -> None:
    """Whoever has a /64 can't be another source with each of its addresses."""
    sources = {
        _source_of(address) for text in (one, other) if (address := address_of(f"ipv6:%5B{text}%5D:1")) is not None
    }
    assert (len(sources) == 1) is is_one_source


@pytest.mark.parametrize(
    "told",
    [
        "nonsense",
        "192.0.2",
        "192.0.2.1:80",
        "192.0.2.1, 192.0.2.2",
        " 192.0.2.1",
        "0300.0.2.1",
        "[::1]",
        "fe80::1%eth0",
    ],
)
async def test_address_that_is_none_is_an_error_of_a_trusted_caller(run: Run, told: str) -> None:
    """A trusted caller whose client address can't be read is told so, by the name of the metadata."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service, fails("INVALID_FIELDS") as failures:
        await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=[(CLIENT_IP, told)])
    assert failures[0].violations == [(CLIENT_IP, "ADDRESS")]


async def test_address_of_a_stranger_is_not_even_read(service: Service) -> None:
    """From who is not trusted an address that is none is no error either."""
    await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=[(CLIENT_IP, "nonsense")])


@pytest.mark.parametrize(
    ("told", "sources"),
    [
        ("2001:db8:1:203:1::1", {"source:2001:db8:1:203::/64", "source:2001:db8:1:200::/56", "source:2001:db8:1::/48"}),
        ("192.0.2.1", {"source:192.0.2.1", "source:192.0.2.0/24"}),
        ("::ffff:192.0.2.1", {"source:192.0.2.1", "source:192.0.2.0/24"}),
    ],
)
async def test_calls_are_counted_for_the_address_that_a_trusted_caller_tells(
    run: Run, database: Database, told: str, sources: set[str]
) -> None:
    """The limits of a source are those of the end user's address, IPv6 by its /64, and of networks around it."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service:
        await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=[(CLIENT_IP, told)])
    subjects = await database.fetch("select subject from rate_windows where action = 'RESET'")
    assert {row["subject"] for row in subjects} == {"*", *sources}


async def test_trusted_caller_that_tells_no_address_is_a_source_by_itself(run: Run, database: Database) -> None:
    """Whoever speaks for many and does not say for whom has a limit of its own, and is seen in a metric."""
    limits = {"reset_per_source": 2, "unnamed_client_factor": 3}
    async with run(server={"trusted_callers": "127.0.0.0/8"}, limits=limits) as service:
        for number in range(6):
            await service.stub.ResetPassword(pb.ResetPasswordRequest(username=f"user-{number}"))
        async with fails("LIMIT_EXCEEDED"):
            await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"))
        # Who says for whom is not held up by that.
        await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=[(CLIENT_IP, "192.0.2.1")])
        assert (service.metrics.registry.get_sample_value("authsvc_unnamed_clients_total") or 0) >= 7
    subjects = await database.fetch("select subject from rate_windows where action = 'RESET'")
    assert {row["subject"] for row in subjects} == {
        "*",
        "source:caller:127.0.0.1",
        "source:192.0.2.1",
        "source:192.0.2.0/24",
    }


@pytest.mark.parametrize("key", [CLIENT_IP, "authsvc-client-user-agent", "authsvc-request-id", "authorization"])
async def test_metadata_that_is_given_twice_is_refused(run: Run, database: Database, key: str) -> None:
    """No value of a key that is given twice is taken, be they alike or not, and nothing is counted."""
    for values in (("192.0.2.1", "192.0.2.2"), ("192.0.2.1", "192.0.2.1")):
        async with run(server={"trusted_callers": "127.0.0.0/8"}) as service, fails("INVALID_FIELDS") as failures:
            metadata = [(key, value) for value in values]
            await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=metadata)
        assert failures[0].violations == [(key, "REPEATED")]
    assert not await database.fetch("select subject from rate_windows where action = 'RESET'")


async def test_metadata_of_others_may_be_given_twice(service: Service) -> None:
    """What authsvc does not read is no business of its."""
    metadata = [("baggage", "a=1"), ("baggage", "b=2")]
    await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"), metadata=metadata)
