"""Whatever bytes and metadata a call brings, it ends with a typed error or a success, and nothing is logged as a fault.

OWASP ASVS 5.0 V16.5 (errors are handled, and tell nothing of the inside) and V2.2 (input is validated).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from structlog.testing import capture_logs

from authsvc.config import LimitsSettings, Settings
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import KEY, new_key
from tests.clock import FakeClock
from tests.fuzz.wire import Fuzzer, Metadata
from tests.rpc.conftest import changed
from tests.rpc.every_method import ENDING, Method, admin_methods, methods
from tests.service import PASSWORD, Service, failure_of

# Few and always the same for every run of the tests; `make fuzz` sends a million.
FEW = 2_000
MESSAGES = int(os.environ.get("FUZZ_MESSAGES", FEW))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
TOGETHER = 20
# After so many calls the world has new people.
ROUND = 1_000
REACHED = {"OK", "INVALID_FIELDS", "NOT_AUTHORIZED", "TOKEN_INVALID", "PERMISSION_DENIED", "SESSION_EXPIRED"}
MAKEFILE = Path(__file__).parents[2] / "Makefile"
# They end what the others work with.
UNKIND = set(ENDING)
ADMIN_METHODS = [method for method in admin_methods() if str(method) not in UNKIND]
METHODS = [*(method for method in methods() if str(method) not in UNKIND), *ADMIN_METHODS]
# A call may be in another one's way; none of these may come of a message.
FAULTS = {"INTERNAL", "DATABASE_UNAVAILABLE", "DEADLINE_EXCEEDED"}


async def send(service: Service, method: Method, message: bytes, sent: Metadata) -> str:
    """Send a message; return OK or the reason of the refusal, which must be typed."""
    path = f"/{method.descriptor.containing_service.full_name}/{method.descriptor.name}"
    read = GetMessageClass(method.descriptor.output_type).FromString
    try:
        if method.descriptor.client_streaming:
            stream = service.channel.stream_unary(path, request_serializer=bytes, response_deserializer=read)
            await stream(iter([message, message]), metadata=sent)
        elif method.descriptor.server_streaming:
            responses = service.channel.unary_stream(path, request_serializer=bytes, response_deserializer=read)
            async for _ in responses(message, metadata=sent):
                pass
        else:
            unary = service.channel.unary_unary(path, request_serializer=bytes, response_deserializer=read)
            await unary(message, metadata=sent)
    except grpc.aio.AioRpcError as error:
        failure = failure_of(error)
        assert failure.reason not in FAULTS, f"{method} {failure} {message!r} {sent!r}"
        return failure.reason
    return "OK"


@dataclass
class World:
    """Hold the service with people in it, and what a caller may know of them."""

    service: Service
    key: str
    users: int = 0
    texts: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    reasons: Counter[str] = field(default_factory=Counter)

    def fitting(self, method: Method) -> tuple[str, str]:
        """Return the header with which a method may be called."""
        return next(each for each in self.headers if (each[0] == KEY) is (method in ADMIN_METHODS))

    async def renew(self) -> None:
        """Let a user be signed in, and half of a sign-in of another wait for its code."""
        self.service.clock.advance(timedelta(hours=1))
        self.users += 2
        names = f"ada{self.users}", f"eve{self.users}"
        ada, eve = [await self.service.enrolled(name) for name in names]
        self.service.next_totp_step()
        waiting = await self.service.sign_in(ada.username)
        set_up = await self.service.stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=eve.bearer)
        handles = [waiting.session, set_up.session, eve.tokens.refresh_token, eve.user_id]
        self.texts = (*names, *handles, PASSWORD, "000000", "email", eve.email, "")
        self.headers = (*eve.bearer, (KEY, self.key), (KEY, "x"), ("authorization", "Bearer x.y.z"))


@pytest.fixture
async def world(settings: Settings, clock: FakeClock, tmp_path: Path) -> AsyncIterator[World]:
    """Run the service for callers from everywhere: what is counted by source would end it all."""
    limits: dict[str, object] = {
        name: 1_000_000 for name in LimitsSettings.model_fields if name.endswith(("_per_source", "_global"))
    }
    async with Service.run(changed(settings, limits=limits), clock, tmp_path) as service:
        yield World(service, await new_key(settings, clock, "ops", timedelta(days=36_500)))


@pytest.mark.timeout(120 + MESSAGES // 50)
async def test_no_message_is_more_than_refused(world: World) -> None:
    """Every method takes bytes of every kind, with metadata of every kind, several at once."""
    print(f"FUZZ_MESSAGES={MESSAGES} FUZZ_SEED={SEED}")  # noqa: T201  # shown with a failure, to send them again
    random = Random(SEED)  # the same every time
    for sent in range(0, MESSAGES, TOGETHER):
        if sent % ROUND == 0:
            await world.renew()
        world.service.clock.advance(timedelta(seconds=1))
        fuzzer = Fuzzer(random, world.texts, world.headers)
        calls = [
            (method, fuzzer.message(method.descriptor.input_type), fuzzer.metadata(world.fitting(method)))
            for method in random.choices(METHODS, k=TOGETHER)
        ]
        with capture_logs() as lines:
            world.reasons.update(await asyncio.gather(*(send(world.service, *call) for call in calls)))
        assert not [line for line in lines if line["log_level"] in ("error", "critical")]
    missed = REACHED - world.reasons.keys()
    assert not missed, f"messages get nowhere: {world.reasons}"


def test_how_to_send_a_million_is_told() -> None:
    """`make fuzz` runs this file."""
    assert "FUZZ_MESSAGES" in MAKEFILE.read_text(encoding="utf-8").split("fuzz:")[1]
