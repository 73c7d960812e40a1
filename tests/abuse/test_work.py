"""What a name costs tells nothing of it: the same statements, hashes and messages, whether somebody has it or not."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import asyncpg
import pytest

from authsvc import store
from authsvc.crypto.password_hash import HashPlace
from authsvc.delivery.mail.carrier import MailCarrier
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.calls import settle
from tests.service import Service, fails
from tests.waiting import until

WRONG = "another one of 20 letters"
Ask = Callable[[Service, str], Awaitable[Any]]


@dataclass
class Work:
    """Count what is done, by its name."""

    done: Counter[str] = field(default_factory=Counter)

    def note(self, of: type[Any], method: str, name: Callable[..., str], patch: pytest.MonkeyPatch) -> None:
        """Count the calls of a method from now on."""
        real = getattr(of, method)

        def counted(itself: Any, *args: Any, **named: Any) -> Any:
            self.done[name(*args)] += 1
            return real(itself, *args, **named)

        patch.setattr(of, method, counted)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Count the statements, the hashes and the mails that are rendered."""
    noted = Work()
    names = _statements()
    for method in ("fetch", "fetchrow", "fetchval", "execute"):
        noted.note(asyncpg.Connection, method, lambda query, *_: names.get(query, query), monkeypatch)
    noted.note(HashPlace, "verify", lambda *_: "a password verified", monkeypatch)
    noted.note(MailCarrier, "prepare", lambda *_: "a mail rendered", monkeypatch)
    return noted


def _statements() -> dict[str, str]:
    """Return the names of our statements by their texts."""
    modules = [module for _, module in inspect.getmembers(store, inspect.ismodule)]
    named: dict[str, str] = {}
    while modules:
        module = modules.pop()
        named |= {text: f"{module.__name__}.{name}" for name, text in vars(module).items() if isinstance(text, str)}
        modules += [each for each in vars(module).values() if isinstance(each, ModuleType) and _is_ours(each, module)]
    return named


def _is_ours(module: ModuleType, parent: ModuleType) -> bool:
    return module.__name__.startswith(f"{parent.__name__}.")


async def reset(service: Service, name: str) -> None:
    """Ask for a reset code."""
    await service.stub.ResetPassword(pb.ResetPasswordRequest(username=name))


async def resend(service: Service, name: str) -> None:
    """Ask for a sign-up code."""
    await service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=name))


async def sign_in(service: Service, name: str) -> None:
    """Try a password."""
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(name, password=WRONG)


async def sign_up(service: Service, name: str) -> None:
    """Sign up with the address that somebody of the name would have."""
    await service.sign_up(f"new-{name}", email=f"{name}@example.com")


# What sends, and what goes on about a message until there is none: how often a worker looks depends on its luck.
LOOKS = ("outbox.CLAIM", "outbox.FIND_NEXT_DUE", "outbox.EXPIRE", "outbox.FIND_OLDEST_DUE", "outbox.PING")
BACKGROUND = ("migrate", "signing_keys", "passwords.LIST_IMPORTED")


def is_of_the_call(name: str) -> bool:
    """Tell whether it is done once for a call, by the call itself or for its message."""
    return not name.endswith(LOOKS) and not any(f"store.{each}" in name for each in BACKGROUND)


async def nothing_waits(database: Database) -> bool:
    """Tell whether every message, to whomever, has had its end."""
    return not await database.fetchval("select count(*) from outbox where sealed_parameters is not null")


@pytest.mark.parametrize("ask", [reset, resend, sign_in, sign_up], ids=lambda each: each.__name__)
async def test_work_is_the_same(service: Service, database: Database, work: Work, ask: Ask) -> None:
    """A name costs what any other costs, from the call to where its message would be handed to the carrier.

    OWASP ASVS 5, 6.3.8: valid users cannot be deduced from failed authentication, registration or recovery.
    """
    await service.confirmed("ada")
    done = []
    for name in ("ada", "eve"):
        await settle(service, database)
        await until(lambda: nothing_waits(database))
        work.done.clear()
        await ask(service, name)
        await settle(service, database)
        await until(lambda: nothing_waits(database))
        done.append(
            {what: count for what, count in work.done.items() if is_of_the_call(what) and "outbox w" not in what}
        )
    assert done[0] == done[1]
    assert any("store." in what for what in done[0]), "the statements are named"
    if ask is not sign_in:
        assert done[0]["a mail rendered"] == 1


async def test_no_list_and_no_metric_counts_a_message_to_nobody(service: Service, database: Database) -> None:
    """What waits for a name that nobody has goes unseen by the mail server and by metrics. OWASP ASVS 5, 6.3.8."""
    await reset(service, "nobody")
    await until(lambda: nothing_waits(database))
    assert service.catcher.messages() == []
    assert await database.fetchval("select count(*) from outbox where is_decoy and attempts = 1") == 1
    samples = [sample for family in service.metrics.registry.collect() for sample in family.samples]
    assert [sample for sample in samples if sample.name.startswith("authsvc_mails") and sample.value] == []
