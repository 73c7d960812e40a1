"""What has had its end, whatever table it is in; each replica removes it in batches that wait for nobody."""

from __future__ import annotations

import enum
from datetime import datetime

from authsvc.store.db import Executor, affected


class Ended(enum.StrEnum):
    """Name what is removed at a time after its end that is the same for all of it."""

    CHALLENGE_SESSIONS = "challenge_sessions"
    # Set-ups that were not verified in time.
    TOTP_DEVICES = "totp_devices"
    CODES = "codes"
    RESET_SESSIONS = "reset_sessions"
    # They stay for a while after their end, as a note that their account was signed in to before.
    KNOWN_DEVICES = "known_devices"
    KNOWN_SOURCES = "known_sources"
    RATE_WINDOWS = "rate_windows"
    # With their refresh tokens.
    SESSIONS = "sessions"
    # Only the successors of used refresh tokens: no retry may ask for them any more.
    SUCCESSORS = "successors"
    # Those that nobody has gone on with.
    IMPORTS = "imports"
    # Replies that can't be asked for again any more.
    SIGN_IN_REPLIES = "sign_in_replies"
    # Mails that are final.
    OUTBOX = "outbox"


PURGES = {
    Ended.CHALLENGE_SESSIONS: """
delete from challenge_sessions
 where digest in (
     select digest from challenge_sessions where expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.TOTP_DEVICES: """
delete from totp_devices
 where device_id in (
     select device_id from totp_devices where verified_at is null and expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.CODES: """
delete from codes
 where (username_key, purpose) in (
     select username_key, purpose from codes where expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.RESET_SESSIONS: """
delete from reset_sessions
 where digest in (
     select digest from reset_sessions where expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.KNOWN_DEVICES: """
delete from known_lanes
 where digest in (
     select digest from known_lanes where kind = 'DEVICE' and expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.KNOWN_SOURCES: """
delete from known_lanes
 where digest in (
     select digest from known_lanes where kind <> 'DEVICE' and expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.RATE_WINDOWS: """
delete from rate_windows
 where (action, subject) in (
     select action, subject from rate_windows where ends_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.SESSIONS: """
delete from sessions
 where session_id in (
     select session_id from sessions where expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.SUCCESSORS: """
update refresh_tokens
   set sealed_successor = null
 where digest in (
     select digest from refresh_tokens where sealed_successor is not null and used_at <= $1 limit $2
        for update skip locked
 )
""",
    Ended.IMPORTS: """
delete from imports
 where import_id in (
     select import_id from imports where updated_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.SIGN_IN_REPLIES: """
delete from sign_in_replies
 where digest in (
     select digest from sign_in_replies where expires_at <= $1 limit $2 for update skip locked
 )
""",
    Ended.OUTBOX: """
with finished as materialized (
    select mail_id
      from outbox
     where state <> 'QUEUED'
       and finished_at < $1
     limit $2
       for update skip locked
)
delete from outbox
 using finished
 where outbox.mail_id = finished.mail_id
""",
}


async def purge(executor: Executor, *, what: Ended, before: datetime, limit: int) -> int:
    """Remove up to `limit` of what had its end before `before`, and return how many."""
    return affected(await executor.execute(PURGES[what], before, limit))
