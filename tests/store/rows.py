"""Rows that other rows need: an account, a session of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from authsvc.domain import EmailKey, Session, SessionId, User, UserId, UsernameKey, UserStatus
from authsvc.store import sessions, users
from authsvc.store.db import Executor
from authsvc.store.sessions import Visit

DAY = timedelta(days=1)


async def insert_user(
    executor: Executor,
    username: str = "ada",
    *,
    now: datetime,
    status: str = "CONFIRMED",
    email: str | None = None,
    reserved_until: datetime | None = None,
) -> UUID:
    """Insert an account and return its id."""
    user_id = uuid4()
    assert await users.insert(
        executor,
        user=User(
            user_id=UserId(user_id),
            username=username.title(),
            username_key=UsernameKey(username),
            status=UserStatus(status),
            email=email,
            email_key=EmailKey(email) if email else None,
            created_at=now,
            reserved_until=reserved_until,
        ),
    )
    return user_id


def visit_by(
    device: bytes, source: bytes | None = None, *, now: datetime, is_shown: bool = False, most: int = 3
) -> Visit:
    """Return what a sign-in by a device makes known for a day, from a network or not."""
    return Visit(
        device=device,
        is_shown=is_shown,
        device_expires_at=now + DAY,
        source=source,
        source_expires_at=now + DAY,
        most_devices=most,
        most_sources=most,
    )


async def insert_session(
    executor: Executor,
    user_id: UUID,
    *,
    now: datetime,
    expires_at: datetime | None = None,
    session_id: UUID | None = None,
    refresh_digest: bytes | None = None,
    visit: Visit | None = None,
) -> UUID:
    """Insert a session, which lasts a day unless told otherwise, and return its id."""
    session_id = session_id or uuid4()
    await sessions.insert(
        executor,
        session=Session(
            session_id=SessionId(session_id),
            user_id=UserId(user_id),
            origin_jti=uuid4(),
            amr=["pwd"],
            auth_time=now,
            created_at=now,
            last_used_at=now,
            expires_at=expires_at or now + DAY,
            client_ip="",
            client_user_agent="",
        ),
        refresh_digest=refresh_digest or uuid4().bytes,
        visit=visit or visit_by(uuid4().bytes, now=now),
    )
    return session_id
