"""Codes sent by mail or SMS: issuing one with its mail, and taking a try at one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.config import CodesSettings
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.messages.notices import MailKind, MailParameters, Notices
from authsvc.core.names import mask_email, mask_phone
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_code
from authsvc.domain import Medium, User, UsernameKey
from authsvc.errors import CodeExpired, CodeMismatch
from authsvc.store import codes
from authsvc.store.db import Database, Executor

# Of 256 names without an account so many seem to be sent an SMS, where that can be.
MADE_UP_PHONES = 32


class CodePurpose(enum.StrEnum):
    """Name what a code is for; the values are stored."""

    SIGN_UP = "SIGN_UP"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105  # the name of a purpose
    VERIFY_EMAIL = "VERIFY_EMAIL"
    VERIFY_PHONE = "VERIFY_PHONE"


@dataclass(frozen=True, slots=True)
class CodeDelivery:
    """Hold where a code is on its way to: the masked address of the attribute."""

    destination: str
    medium: Medium = Medium.EMAIL
    attribute_name: str = "email"


@dataclass(frozen=True, slots=True)
class _Kind:
    factor: Factor
    mail: MailKind
    digits: int
    ttl: timedelta
    # What the codes of an hour are counted by.
    sends: str


class MailCodes:
    """Issue and verify the codes of one name, whether an account has it or not."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        throttle: Throttle,
        notices: Notices,
        settings: CodesSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._throttle = throttle
        self._notices = notices
        self._max_wrong = settings.max_wrong
        self._clock = clock
        self._kinds = {
            CodePurpose.SIGN_UP: _Kind(
                Factor.SIGN_UP_CODE,
                MailKind.SIGN_UP_CODE,
                settings.sign_up_digits,
                settings.sign_up_ttl,
                Factor.SIGN_UP_CODE,
            ),
            CodePurpose.RESET_PASSWORD: _Kind(
                Factor.RESET_CODE,
                MailKind.RESET_PASSWORD_CODE,
                settings.reset_digits,
                settings.reset_ttl,
                Factor.RESET_CODE,
            ),
        }
        for purpose in (CodePurpose.VERIFY_EMAIL, CodePurpose.VERIFY_PHONE):
            self._kinds[purpose] = _Kind(
                Factor.ATTRIBUTE_CODE,
                MailKind.ATTRIBUTE_CODE,
                settings.attribute_digits,
                settings.attribute_ttl,
                purpose,
            )

    def expiry(self, purpose: CodePurpose, now: datetime) -> datetime:
        """Return when a code issued now ends."""
        return now + self._kinds[purpose].ttl

    async def spend_send(self, purpose: CodePurpose, username_key: UsernameKey) -> None:
        """Count a code to be sent, before it is made.

        Raises:
            LimitExceeded: the name had its codes of this hour.
        """
        await self._throttle.spend_send(self._kinds[purpose].sends, username_key)

    async def issue(
        self,
        executor: Executor,
        purpose: CodePurpose,
        username_key: UsernameKey,
        to: MailParameters | None,
        *,
        now: datetime,
        medium: Medium = Medium.EMAIL,
        owner: MailParameters | None = None,
        bound_to: str = "",
    ) -> None:
        """Replace the name's code and enqueue its message, in the caller's transaction.

        `to` None: nobody to send it to, but the same statements run. `owner`: the address belongs to another account,
        whose owner is told of it, and the code is sent to nobody. `bound_to`: what the code verifies, nothing else.
        """
        kind = self._kinds[purpose]
        code = new_code(kind.digits)
        expires_at = self.expiry(purpose, now)
        await codes.issue(
            executor,
            username_key=username_key,
            purpose=purpose,
            digest=self._ring.digest(Purpose.CODE, *_parts(purpose, username_key, code, bound_to)),
            now=now,
            expires_at=expires_at,
            medium=medium,
        )
        # Nothing has been guessed at a new code. Else a stranger's guesses at the former ones could lock its owner out.
        # After the code's row, as in `consume`: the other way round the two deadlock.
        await self._throttle.forget(executor, username_key, kind.factor)
        await self._notices.enqueue(
            executor,
            MailKind.EMAIL_TAKEN if to and owner else kind.mail,
            (owner or replace(to, code=code)) if to else None,
            medium=medium,
            now=now,
            expires_at=expires_at,
            supersede_key=self.supersede_key(purpose, username_key),
        )

    async def try_code(self, purpose: CodePurpose, username_key: UsernameKey, code: str, *, bound_to: str = "") -> None:
        """Count a try and compare, committed at once; who passes goes on to `consume`.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: it was replaced, or there is no live code.
            LimitExceeded: too many tries for this name.
        """
        await self._throttle.spend_try(self._kinds[purpose].factor, username_key)
        outcome = await codes.spend_try(
            self._database,
            username_key=username_key,
            purpose=purpose,
            digests=self._digests(purpose, username_key, code, bound_to),
            now=self._clock.now(),
            max_wrong=self._max_wrong,
        )
        if outcome is None or (outcome.is_superseded and not outcome.is_right):
            raise CodeExpired
        if not outcome.is_right:
            raise CodeMismatch

    async def forgive(self, purpose: CodePurpose, username_key: UsernameKey, code: str) -> None:
        """Forget the tries at a code that was right, when something else stopped its use."""
        digests = self._digests(purpose, username_key, code)
        await codes.forgive(self._database, username_key=username_key, purpose=purpose, digests=digests)
        await self._throttle.forget(self._database, username_key, self._kinds[purpose].factor)

    async def consume(
        self,
        executor: Executor,
        purpose: CodePurpose,
        username_key: UsernameKey,
        code: str,
        *,
        now: datetime,
        bound_to: str = "",
    ) -> Medium:
        """Use a right code up, in the transaction that does what it is for; return what carried it.

        Raises:
            CodeExpired: another call used or replaced it.
        """
        digests = self._digests(purpose, username_key, code, bound_to)
        medium = await codes.consume(executor, username_key=username_key, purpose=purpose, digests=digests, now=now)
        if medium is None:
            raise CodeExpired
        await self._throttle.forget(executor, username_key, self._kinds[purpose].factor)
        return Medium(medium)

    def delivery(self, username_key: UsernameKey, email: str | None, *, may_be_phone: bool = False) -> CodeDelivery:
        """Return the masked address; for a name without one a made-up one that is always the same.

        A name with an `@` is an address that no account has: it is shown as one that an account has would be.

        `may_be_phone`: some accounts would be sent an SMS instead, so some names without one seem to be too.
        """
        if email is not None:
            return CodeDelivery(mask_email(email))
        # Under the oldest key: a new master key in front must not change it.
        digest = self._ring.digests(Purpose.MASK, username_key)[-1]
        if may_be_phone and digest[2] < MADE_UP_PHONES:
            return CodeDelivery(mask_phone(f"{int.from_bytes(digest[3:7]):04d}"), Medium.SMS, "phone_number")
        if "@" in username_key:
            return CodeDelivery(mask_email(username_key))
        local, domain = (chr(ord("a") + byte % 26) for byte in digest[:2])
        return CodeDelivery(mask_email(f"{local}@{domain}"))

    @staticmethod
    def supersede_key(purpose: CodePurpose, username_key: UsernameKey) -> str:
        """Return the key under which a later mail of the same purpose replaces one that waits."""
        return f"{purpose} {username_key}"

    async def drop(self, executor: Executor, username_key: UsernameKey, *purposes: CodePurpose) -> None:
        """End the name's codes: what they were sent to is not the account's any more."""
        await codes.delete(executor, username_key=username_key, purposes=list(purposes))

    def _digests(self, purpose: CodePurpose, username_key: UsernameKey, code: str, bound_to: str = "") -> list[bytes]:
        return self._ring.digests(Purpose.CODE, *_parts(purpose, username_key, code, bound_to))


def _parts(purpose: CodePurpose, username_key: UsernameKey, code: str, bound_to: str) -> tuple[str, ...]:
    return (purpose, username_key, code, *([bound_to] if bound_to else []))


def address_of(user: User, medium: Medium) -> str:
    """Return where an account's codes go over a medium; empty if it has no such address."""
    return (user.phone_number if medium is Medium.SMS else user.email) or ""


def delivery_of(user: User, medium: Medium) -> CodeDelivery:
    """Return the same, masked."""
    address = address_of(user, medium)
    if medium is Medium.SMS:
        return CodeDelivery(mask_phone(address), medium, "phone_number")
    return CodeDelivery(mask_email(address))
