"""New e-mail addresses and phone numbers of a signed-in user: they wait until a code that was sent to them is given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from authsvc.config import Settings
from authsvc.core.access.changes import Change
from authsvc.core.access.lanes import lane_of_session
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.attributes import CONFIRMED_BY_CODE, Attributes
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import sent_to
from authsvc.core.fields import Fields, refused
from authsvc.core.messages.codes import RESETS, VERIFY_EMAIL, VERIFY_PHONE, CodeDelivery, CodeRef, Codes
from authsvc.core.messages.kinds import EmailChanged, MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices, addressed, recipient
from authsvc.core.names import mask_email, mask_phone, parse_code
from authsvc.core.sessions.bearers import Bearer
from authsvc.domain import EmailKey, Medium, User
from authsvc.errors import CodeExpired, Conflict
from authsvc.store import users
from authsvc.store.db import RETRY_CONFLICT
from authsvc.store.factors import preferences
from authsvc.store.users import addresses

EMAIL = "email"
PHONE_NUMBER = "phone_number"
_PURPOSES = {EMAIL: VERIFY_EMAIL, PHONE_NUMBER: VERIFY_PHONE}


@dataclass(frozen=True, slots=True)
class Unverified:
    """Hold a value of `email` or `phone_number` that waits for its code, and the form in which it is told apart."""

    name: str
    value: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmations:
    """Send the codes of new addresses and numbers, and put into use what is confirmed."""

    throttle: Throttle
    codes: Codes
    notices: Notices
    signed_in: SignedIn
    settings: Settings

    @property
    def _sends_sms(self) -> bool:
        return bool(self.settings.sms.webhook_url)

    async def send_code(self, bearer: Bearer, name: str) -> CodeDelivery:
        """Send a code to the value that waits for one, in place of the former code.

        Raises:
            InvalidFields: nothing waits, or there is no way to send a code to it.
            LimitExceeded: too many codes for this user, from this source or in all.
            Conflict: the value was changed at the same time.
        """
        waiting = self._waiting(await self.signed_in.find(bearer), _parse_name(name))
        if waiting is None:
            raise refused("name", "NOTHING_TO_VERIFY", "must be an attribute that waits for its verification")
        may_send = await self.spend([waiting], bearer)
        async with self.signed_in.change(bearer, AuditKind.SEND_USER_ATTRIBUTE_CODE, {"name": name}) as change:
            if self._waiting(change.user, name) != waiting:
                raise Conflict(retry_after=RETRY_CONFLICT)
            return await self._send(change, waiting, may_send)

    async def confirm(self, bearer: Bearer, name: str, code: str) -> None:
        """Put the value that waits into use with its code; a former verified address is told by mail.

        Raises:
            InvalidFields: every broken rule at once.
            ReauthenticationRequired: the user was proved again after the access token was issued.
            CodeMismatch: the code is wrong, or was sent to another value.
            CodeExpired: it is used, replaced, burned, expired, never issued, or the address is somebody else's now.
            LimitExceeded: too many tries for this user.
        """
        fields = Fields()
        fields.take(_parse_name, name)
        digits = fields.take(parse_code, code, field="confirmation_code")
        fields.check()
        waiting = self._waiting(await self.signed_in.find(bearer), name)
        ref = CodeRef(_PURPOSES[name], bearer.standing.username_key, waiting.value if waiting else "")
        kind = AuditKind.CONFIRM_USER_ATTRIBUTE
        async with self.signed_in.tries(bearer, kind, name=name):
            self.signed_in.require_current(bearer)
            await self.codes.try_code(ref, digits.value, lane=lane_of_session(bearer.standing.session_id))
            async with self.signed_in.change(bearer, kind, {"name": name}, is_sensitive=True) as change:
                executor, now = change.executor, change.now
                if waiting is None or not await _put_into_use(change, waiting):
                    raise CodeExpired
                await self.codes.consume(executor, ref, digits.value, now=now)
                await self._let_go(change, waiting)
                state = await preferences.find(executor, user_id=change.user.user_id)
                if name == PHONE_NUMBER and sent_to(name).is_enabled(state):
                    told = MfaChanged(MfaChange.PREFERENCE_CHANGED)
                    await self.notices.tell(executor, change.user, told, now=now)

    def new_values(self, user: User, given: Attributes) -> list[Unverified]:
        """Return which given values have to be verified before they are used."""
        new = []
        if given.email and not (user.email == given.email.address and user.email_verified_at):
            new.append(Unverified(EMAIL, given.email.address, given.email.key))
        number = given.others.get(PHONE_NUMBER)
        if number and self._sends_sms and not (user.phone_number == number and user.phone_verified_at):
            new.append(Unverified(PHONE_NUMBER, number, number))
        return new

    async def spend(self, new: Collection[Unverified], bearer: Bearer) -> frozenset[str]:
        """Count the codes to be sent; return the names of those that their address or number has not had too many of.

        That some are withheld is no error: the caller must not learn what others sent there.

        Raises:
            LimitExceeded: too many codes for this user, from this source or in all.
        """
        if new:
            await self.throttle.spend_source(Action.RESEND, bearer.caller)
            await self.throttle.spend_all(Action.RESEND, lane_of_session(bearer.standing.session_id))
        for unverified in new:
            await self.codes.spend_send(_PURPOSES[unverified.name], bearer.standing.username_key)
        return frozenset([each.name for each in new if await self.throttle.spend_address(each.key)])

    async def begin(
        self, change: Change, given: Attributes, new: Collection[Unverified], *, may_send: frozenset[str]
    ) -> dict[str, CodeDelivery]:
        """Have given values wait for their codes, and send those.

        A value that is in use and verified ends the wait of another one. A number that no code can be sent to is in use
        at once, unverified.
        """
        executor, user_id = change.executor, change.user.user_id
        number = given.others.get(PHONE_NUMBER)
        if given.email:
            await addresses.set_pending_email(executor, user_id=user_id, email=None, email_key=None)
        if number and self._sends_sms:
            await addresses.set_pending_phone(executor, user_id=user_id, phone_number=None)
        elif number:
            await addresses.set_unverified_phone(executor, user_id=user_id, phone_number=number, now=change.now)
        sent = {}
        for each in new:
            if each.name == EMAIL:
                key = EmailKey(each.key)
                await addresses.set_pending_email(executor, user_id=user_id, email=each.value, email_key=key)
            else:
                await addresses.set_pending_phone(executor, user_id=user_id, phone_number=each.value)
            sent[each.name] = await self._send(change, each, may_send)
        return sent

    async def remove(self, change: Change, name: str) -> None:
        """Remove address or number with what waits; the address is told."""
        executor, user, now = change.executor, change.user, change.now
        if name == EMAIL:
            await addresses.remove_email(executor, user_id=user.user_id, now=now)
            await self.notices.tell(executor, user, EmailChanged(), now=now)
        else:
            await addresses.remove_phone(executor, user_id=user.user_id, now=now)
        # What is gone is no second factor any more.
        await preferences.remove(executor, user_id=user.user_id, kind=sent_to(name).kind)
        await self.codes.drop(executor, user.names, *RESETS, _PURPOSES[name])

    async def _send(self, change: Change, unverified: Unverified, may_send: frozenset[str]) -> CodeDelivery:
        executor, user, owner = change.executor, change.user, None
        if unverified.name == EMAIL:
            owner = await users.find_email_owner(executor, email_key=EmailKey(unverified.key))
        if owner is not None and owner.user_id == user.user_id:
            owner = None
        told = recipient(owner)
        # A disabled owner is not told, and keeps the address all the same: its mailbox gets no code.
        is_sent = unverified.name in may_send and (owner is None or told is not None)
        medium = Medium.EMAIL if unverified.name == EMAIL else Medium.SMS
        await self.codes.issue(
            executor,
            CodeRef(_PURPOSES[unverified.name], user.username_key, unverified.value),
            addressed(user, unverified.value) if is_sent else None,
            now=change.now,
            medium=medium,
            owner=told,
            address_key=unverified.key,
        )
        mask = mask_email if unverified.name == EMAIL else mask_phone
        return CodeDelivery(mask(unverified.value), medium, unverified.name)

    async def _let_go(self, change: Change, used: Unverified) -> None:
        """Tell the former address, and end the codes that went to it or to the former number."""
        user = change.user
        former = user.email if used.name == EMAIL else user.phone_number
        if former is None or former == used.value:
            return
        await self.codes.drop(change.executor, user.names, *RESETS)
        if used.name == EMAIL:
            masked = mask_email(used.value)
            await self.notices.tell(change.executor, user, EmailChanged(masked), now=change.now)

    def _waiting(self, user: User, name: str) -> Unverified | None:
        if name == EMAIL and user.pending_email and user.pending_email_key:
            return Unverified(EMAIL, user.pending_email, user.pending_email_key)
        if name == EMAIL and user.email and user.email_key and not user.email_verified_at:
            return Unverified(EMAIL, user.email, user.email_key)
        number = user.pending_phone_number or (None if user.phone_verified_at else user.phone_number)
        if name == PHONE_NUMBER and number and self._sends_sms:
            return Unverified(PHONE_NUMBER, number, number)
        return None


def _parse_name(name: str) -> str:
    if name not in CONFIRMED_BY_CODE:
        raise refused("name", "UNKNOWN", "must be email or phone_number")
    return name


async def _put_into_use(change: Change, waiting: Unverified) -> bool:
    executor, user_id, now = change.executor, change.user.user_id, change.now
    if waiting.name == EMAIL:
        key = EmailKey(waiting.key)
        return await addresses.confirm_email(executor, user_id=user_id, email=waiting.value, email_key=key, now=now)
    return await addresses.confirm_phone(executor, user_id=user_id, phone_number=waiting.value, now=now)
