"""Floods from many addresses: what is there for all runs out for those whom nobody knows, and not for owners."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.abuse.conftest import TRUSTING
from tests.abuse.people import CAFE, HOME, WRONG, Person, enrolled_at, outcome
from tests.rpc.calls import step_of
from tests.rpc.conftest import Run
from tests.service import Service

SPENT = "select coalesce(sum(spent), 0) from rate_windows where action = $1 and subject = '*'"


def limit_count(service: Service, action: str, scope: str) -> float:
    """Return how many calls met a limit."""
    value = service.metrics.registry.get_sample_value(
        "authsvc_limits_reached_total", {"action": action, "scope": scope}
    )
    return value or 0.0


async def test_garbage_spends_its_sources_alone(run: Run, database: Database) -> None:
    """Answers to sessions that don't exist use up nothing of what is there for all, from however many /64s.

    OWASP ASVS 5 6.3.1; NIST SP 800-63B-4 §3.2.2.
    """
    limits = {"sign_in_confirm_global": 5, "reset_confirm_global": 5, "resend_global": 5}
    async with run(server=TRUSTING, limits=limits) as service:
        account, owner = await enrolled_at(service, HOME)
        session, code = await owner.reset_by_mail(account)
        before = [await database.fetchval(SPENT, action) for action in ("SIGN_IN_CONFIRM", "RESET_CONFIRM", "RESEND")]
        for number in range(30):
            stranger = Person(service, f"2001:db8:{number:x}::1")
            assert await outcome(stranger.answer("A" * 43, "123456")) == "SESSION_EXPIRED"
            assert await outcome(stranger.confirm_reset("12345678", session="A" * 43)) == "CODE_EXPIRED"
            request = pb.ResendSignInCodeRequest(session="A" * 43)
            assert (
                await outcome(service.stub.ResendSignInCode(request, metadata=stranger.metadata)) == "SESSION_EXPIRED"
            )
        after = [await database.fetchval(SPENT, action) for action in ("SIGN_IN_CONFIRM", "RESET_CONFIRM", "RESEND")]
        assert after == before
        await Person(service, CAFE).confirm_reset(code, session=session)


async def test_owners_go_on_when_all_is_used_up(run: Run) -> None:
    """Above the figure for all, strangers are refused until its window ends; known devices and networks go on.

    OWASP ASVS 5 6.3.1.
    """
    async with run(server=TRUSTING, limits={"sign_in_global": 10, "reset_global": 3}) as service:
        account, owner = await enrolled_at(service, HOME)
        service.clock.advance(timedelta(minutes=1))
        strangers = [Person(service, f"2001:db8:{number:x}::1") for number in range(20)]
        outcomes = [await outcome(stranger.sign_in("nobody", WRONG)) for stranger in strangers]
        assert outcomes.count("LIMIT_EXCEEDED") >= 10
        assert limit_count(service, "SIGN_IN", "all") >= 10
        # An owner at a new place waits as all strangers do, and so does a name that nobody has.
        assert await outcome(Person(service, CAFE).sign_in()) == "LIMIT_EXCEEDED"
        assert await outcome(Person(service, CAFE).sign_in("nobody")) == "LIMIT_EXCEEDED"
        assert await outcome(Person(service, CAFE, device_token=owner.device_token).sign_in()) == "OK"
        await Person(service, HOME).sign_in_fully(account)
        for stranger in strangers:
            await outcome(stranger.reset("nobody"))
        assert limit_count(service, "RESET", "all") == 17
        session, code = await owner.reset_by_mail(account)
        await owner.confirm_reset(code, session=session)


async def test_asking_uses_nothing_of_answering_up(run: Run) -> None:
    """Sign-ins and their answers, resets and theirs, have budgets of their own."""
    async with run(server=TRUSTING, limits={"sign_in_per_source": 2, "reset_per_source": 1}) as service:
        account, owner = await enrolled_at(service, HOME)
        service.next_totp_step()
        started = await owner.sign_in()
        assert await outcome(owner.sign_in()) == "LIMIT_EXCEEDED"
        assert step_of(await owner.answer(started.session, service.totp(account.secret))) == "DONE"
        session, code = await owner.reset_by_mail(account)
        assert await outcome(owner.reset()) == "LIMIT_EXCEEDED"
        await owner.confirm_reset(code, session=session)


NETWORKS = {
    "IPv4 /24": ("192.0.2.{}", "192.0.3.{}", "times_ipv4_24"),
    "IPv6 /56": ("2001:db8:1:10{:x}::1", "2001:db8:1:20{:x}::1", "times_ipv6_56"),
    "IPv6 /48": ("2001:db8:1:{:x}00::1", "2001:db8:2:{:x}00::1", "times_ipv6_48"),
}


@pytest.mark.parametrize("network", NETWORKS)
async def test_networks_are_limited_as_a_whole(run: Run, network: str) -> None:
    """A network has a few times the calls of one address, over however many of its addresses they come.

    What is refused to a network is not counted for all.
    """
    inside, outside, setting = NETWORKS[network]
    limits = {"sign_in_per_source": 2, "sign_in_global": 5, "times_ipv6_56": 256, "times_ipv6_48": 256, setting: 2}
    async with run(server=TRUSTING, limits=limits) as service:
        outcomes = [await outcome(Person(service, inside.format(number)).sign_in("nobody")) for number in range(1, 10)]
        assert outcomes == ["NOT_AUTHORIZED"] * 4 + ["LIMIT_EXCEEDED"] * 5
        assert limit_count(service, "SIGN_IN", "network") == 5
        assert await outcome(Person(service, outside.format(1)).sign_in("no-one")) == "NOT_AUTHORIZED"
