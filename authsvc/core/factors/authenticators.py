"""The authenticators of a signed-in user: adding, listing, removing."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.access.challenges import KEPT, ChallengeSessions
from authsvc.core.access.gate import Gate
from authsvc.core.access.lanes import lane_of_session
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.factor import TotpSetup
from authsvc.core.factors.rules import FactorRules
from authsvc.core.factors.totp import VERIFY_TOTP, Totp
from authsvc.core.fields import Fields, has_control_characters, parse_handle, parse_uuid, refused
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer
from authsvc.domain import DeviceId, TotpDevice
from authsvc.errors import SessionExpired
from authsvc.store import challenges, passwords
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database
from authsvc.store.factors import totp

NAME_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Authenticators:
    """Keep the authenticators of signed-in users."""

    database: Database
    signed_in: SignedIn
    sessions: ChallengeSessions
    gate: Gate
    factor: Totp
    throttle: Throttle
    rules: FactorRules
    notices: Notices

    async def associate(self, bearer: Bearer, friendly_name: str) -> tuple[TotpSetup, str]:
        """Make a pending authenticator beside the active ones; return it and the session for `verify`.

        Raises:
            InvalidFields: the name is too long, or has control characters.
            ReauthenticationRequired: the authentication is too old.
            TotpDeviceLimit: the account has as many as it may have.
        """
        name = _parse_name(friendly_name)
        self.signed_in.require_recent(bearer)
        async with self.signed_in.change(bearer, None, is_sensitive=True) as change:
            await self.factor.require_room(change.executor, change.user)
            session, opening = self.sessions.open(VERIFY_TOTP, change.now, is_set_up=True)
            setup = await self.factor.begin_setup(change.executor, change.user, opening, friendly_name=name)
            await challenges.insert(
                change.executor,
                challenge=Challenge(
                    digest=opening.digest,
                    user_id=change.user.user_id,
                    username_key=change.user.username_key,
                    step=VERIFY_TOTP,
                    proved=[],
                    lane=lane_of_session(bearer.standing.session_id),
                    totp_device_id=setup.device_id,
                    expires_at=opening.expires_at,
                ),
                now=change.now,
                kept=KEPT,
            )
        return setup, session

    async def verify(self, bearer: Bearer, session: str, code: str) -> None:
        """Make a pending authenticator active with its first code, and tell the user by mail.

        Raises:
            InvalidFields: the session or the code can't be one.
            SessionExpired: the session is not one of this user's, or can't be answered any more.
            ReauthenticationRequired: the user was proved again after the access token was issued.
            CodeMismatch: the code is wrong; the session can be answered again.
            TotpDeviceLimit: the account got as many as it may have meanwhile.
            LimitExceeded: too many wrong codes.
        """
        fields = Fields()
        handle = fields.take(parse_handle, session, field="session")
        digits = fields.take(self.factor.parse_own, code)
        fields.check()
        async with self.signed_in.tries(bearer, AuditKind.ADD_TOTP_DEVICE):
            challenge = await self.sessions.find(handle.value)
            if challenge.step != VERIFY_TOTP or challenge.user_id != bearer.standing.user_id:
                raise SessionExpired
            self.signed_in.require_current(bearer)
            accept = await self.gate.verify_answer(challenge, self.factor, digits.value, caller=bearer.caller)
            async with self.signed_in.change(bearer, AuditKind.ADD_TOTP_DEVICE, is_sensitive=True) as change:
                await accept(change.executor, change.user, change.now)

    async def list_active(self, bearer: Bearer) -> list[TotpDevice]:
        """List the user's active authenticators, oldest first."""
        return await totp.list_active(self.database, user_id=bearer.standing.user_id)

    async def remove(self, bearer: Bearer, device_id: str) -> None:
        """Remove an active authenticator of the user, and tell the user by mail; no error if there is none to remove.

        Raises:
            InvalidFields: the id is none.
            ReauthenticationRequired: the authentication is too old.
            MfaRequired: it is the last factor, and one is required.
        """
        removed = DeviceId(parse_uuid(device_id, field="device_id"))
        self.signed_in.require_recent(bearer)
        details = {"device_id": str(removed)}
        async with self.signed_in.change(bearer, AuditKind.REMOVE_TOTP_DEVICE, details, is_sensitive=True) as change:
            tx, user = change.executor, change.user
            before = await self.rules.find(tx, user)
            if not await totp.delete_active(tx, device_id=removed, user_id=user.user_id):
                change.is_void = True
                return
            self.rules.require_rest(before, await self.rules.find(tx, user))
            await passwords.settle(tx, user_id=user.user_id)
            if not await self.factor.is_enrolled(tx, user.user_id):
                # The next one is another secret: nothing will have been guessed at it.
                await self.throttle.open(tx, [user.username_key], self.factor.spec.guarded)
            told = MfaChanged(MfaChange.AUTHENTICATOR_REMOVED)
            await self.notices.tell(tx, user, told, now=change.now)


def _parse_name(text: str) -> str:
    name = text.strip()
    if len(name) > NAME_CHARACTERS or has_control_characters(name):
        description = f"must have at most {NAME_CHARACTERS} characters, none of them a control character"
        raise refused("friendly_name", "NAME", description)
    return name
