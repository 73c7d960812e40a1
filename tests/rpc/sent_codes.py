"""Accounts whose second factor is a code that is sent, and where the code is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from argon2 import PasswordHasher

from authsvc.dev.mailbox import code_in
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.admin.transfers import import_rows, record
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service

PATIENCE_SECONDS = 10
# At the costs that the tests' settings ask for.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@dataclass
class Sent:
    """Hold a service that asks for codes of one medium, and read each code once."""

    service: Service
    database: Database
    key: str
    medium: str
    seen: set[UUID] = field(default_factory=set)

    @property
    def step(self) -> str:
        """Return the step that asks for a code."""
        return f"CONFIRM_SIGN_IN_WITH_{self.medium}_CODE"

    async def user(self, username: str = "ada") -> None:
        """Make an account with this medium as its only second factor."""
        number = f"+1415555{sum(username.encode()):04d}"
        account = record(
            username,
            attributes={"email": f"{username}@example.com", "phone_number": number},
            phone_number_verified=True,
            password_hash=PASSWORD_HASH,
            sms_mfa=self.medium == "SMS",
            email_mfa=self.medium == "EMAIL",
        )
        await import_rows(Operator(self.service.channel, self.key), account, import_id=username)

    async def asked(self, username: str = "ada", password: str = PASSWORD) -> tuple[pb.SignInResponse, str]:
        """Start a sign-in and read the code that it sends."""
        started = await self.service.sign_in(username, password=password)
        return started, await self.code()

    async def resent(self, session: str) -> str:
        """Have another code sent and read it."""
        await self.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=session))
        return await self.code()

    async def answer(self, session: str, code: str) -> pb.ConfirmSignInResponse:
        """Answer with a code of this medium."""
        request = pb.ConfirmSignInRequest(session=session)
        setattr(request, f"{self.medium.lower()}_code", code)
        return await self.service.stub.ConfirmSignIn(request)

    async def code(self) -> str:
        """Return the code of the one message that was enqueued since the last one was read."""
        rows = await self.database.fetch(
            "select mail_id from outbox where medium = $1 and kind = 'SIGN_IN_CODE'", self.medium
        )
        (new,) = (row for row in rows if row["mail_id"] not in self.seen)
        self.seen.add(new["mail_id"])
        return await self._caught(new["mail_id"])

    async def _caught(self, mail_id: UUID) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for mail in self.service.catcher.messages():
                    if str(mail_id) in str(mail["Message-ID"]) and (code := code_in(mail)):
                        return code
                await asyncio.sleep(0.02)


@asynccontextmanager
async def sending(run: Run, database: Database, key: str, medium: str) -> AsyncIterator[Sent]:
    """Run the service with the codes of one medium, and authenticators, as second factors."""
    async with run(accounts={"mfa_types": ("TOTP", medium)}) as service:
        yield Sent(service, database, key, medium)
