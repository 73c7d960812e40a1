"""What must be true of database, mailbox and answers once the harm is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import grpc

from authsvc.dev.mailbox import code_in, header_in, text_in
from authsvc.v1 import auth_service_pb2 as pb
from tests.chaos.ledger import Account, Ledger
from tests.client import email_of
from tests.mail.smtp_server import SmtpServer
from tests.service import bearer, failure_of

if TYPE_CHECKING:
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub


async def broken(
    ledger: Ledger, smtp: SmtpServer, stub: AuthServiceAsyncStub, connection: asyncpg.Connection, *, lost_counts: int
) -> list[str]:
    """Return every rule that does not hold, in words; `lost_counts` wrong passwords may be forgotten for each name."""
    found = [each async for each in _effects(ledger, stub, connection)]
    found += [each async for each in _counters(ledger, connection, lost_counts)]
    found += [each async for each in _rows(connection)]
    found += _mails(ledger, smtp)
    return found


async def _effects(ledger: Ledger, stub: AuthServiceAsyncStub, connection: asyncpg.Connection) -> AsyncIterator[str]:
    rows = await connection.fetch("select username, status from users")
    status = {row["username"]: row["status"] for row in rows}
    for account in ledger.accounts.values():
        name = account.username
        if account.is_deleted:
            if name in status:
                yield f"{name} was deleted, and is there"
            continue
        if account.may_be_deleted:
            continue
        if name not in status:
            yield f"{name} signed up, and is not there"
        elif account.is_confirmed and status[name] != "CONFIRMED":
            yield f"{name} confirmed, and is {status[name]}"
        elif account.is_confirmed and not await _signs_in(stub, account):
            yield f"{name}: no password that was acknowledged signs in"
        for token in account.ended[-3:]:
            seen = await stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(token))
            if seen.is_signed_in:
                yield f"{name} signed out, and is signed in"


async def _signs_in(stub: AuthServiceAsyncStub, account: Account) -> bool:
    for password in account.passwords:
        try:
            await stub.SignIn(pb.SignInRequest(username=account.username, password=password))
        except grpc.aio.AioRpcError as error:
            if failure_of(error).reason != "NOT_AUTHORIZED":
                raise
        else:
            return True
    return False


async def _counters(ledger: Ledger, connection: asyncpg.Connection, lost_counts: int) -> AsyncIterator[str]:
    rows = await connection.fetch("select username_key, sum(count)::int as count from failures group by username_key")
    counted = {row["username_key"]: row["count"] for row in rows}
    for name, refused in ledger.refused.items():
        if counted.get(name, 0) < refused - lost_counts:
            yield f"{refused} wrong passwords for {name} were refused, {counted.get(name, 0)} are counted"


async def _rows(connection: asyncpg.Connection) -> AsyncIterator[str]:
    orphans = await connection.fetchval(
        "select count(*) from sessions s where not exists (select from users u where u.user_id = s.user_id)"
    )
    if orphans:
        yield f"{orphans} sessions of users who are not there"
    twins = await connection.fetch(
        "select session_id from refresh_tokens where used_at is null group by session_id having count(*) > 1"
    )
    if twins:
        yield f"{len(twins)} sessions with two refresh tokens that can be used"


def _mails(ledger: Ledger, smtp: SmtpServer) -> list[str]:
    found: list[str] = []
    message_ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    with_code = set()
    for mail in smtp.received:
        text = text_in(mail.message) or ""
        message_ids[mail.recipient, text].add(header_in(mail.message, "Message-ID"))
        if code_in(mail.message):
            with_code.add(mail.recipient)
    found += [
        f"{account.username} was sent no code"
        for account in ledger.accounts.values()
        if email_of(account.username) not in with_code and not account.may_be_deleted
    ]
    for (recipient, text), ids in message_ids.items():
        # A notice says the same each time; a code does not.
        if len(ids) > 1 and any(word.isdigit() and len(word) >= 6 for word in text.split()):
            found.append(f"one mail to {recipient} came under {len(ids)} Message-IDs")
    return found
