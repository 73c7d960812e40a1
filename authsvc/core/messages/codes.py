"""Codes sent by mail or SMS: issuing one with its message, and taking a try at one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.config import CodesSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Guarded, Sends, Throttle
from authsvc.core.messages.kinds import AttributeCode, CodeMessage, EmailTaken, Recipient, ResetPasswordCode, SignUpCode
from authsvc.core.messages.notices import Notices
from authsvc.core.names import mask_email, mask_phone
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_code
from authsvc.domain import STRANGERS, Lane, Medium, User, UsernameKey
from authsvc.errors import CodeExpired, CodeMismatch
from authsvc.store import codes
from authsvc.store.codes import NewCode
from authsvc.store.db import Database, Executor

# Of 256 names without an account so many seem to be sent an SMS, where that can be.
MADE_UP_PHONES = 32
# Stands for the code of a message that is sent to nobody: none that can be given, so guesses at it are all wrong.
NO_CODE = ""


@dataclass(frozen=True, slots=True)
class CodePurpose:
    """Say what a code is for, with all that belongs to it. `key` is stored.

    Wrong codes are counted by `guarded`, the codes of an hour by `sends`; `terms` are a code's digits and its life.
    `verifies_address`: it is sent to whatever address somebody names, and says that it is theirs.
    """

    key: str
    guarded: Guarded
    sends: str
    message: type[CodeMessage]
    terms: Callable[[CodesSettings], tuple[int, timedelta]]
    verifies_address: bool = True


_SIGN_UP_CODE = Guarded("SIGN_UP_CODE", is_closable=False)
_RESET_CODE = Guarded("RESET_CODE", is_closable=False)
_ATTRIBUTE_CODE = Guarded("ATTRIBUTE_CODE", is_closable=False)
SIGN_UP = CodePurpose(
    key="SIGN_UP",
    guarded=_SIGN_UP_CODE,
    sends="SIGN_UP_CODE",
    message=SignUpCode,
    terms=lambda codes: (codes.sign_up_digits, codes.sign_up_ttl),
)
RESET_PASSWORD = CodePurpose(
    key="RESET_PASSWORD",
    guarded=_RESET_CODE,
    sends="RESET_CODE",
    message=ResetPasswordCode,
    terms=lambda codes: (codes.reset_digits, codes.reset_ttl),
    verifies_address=False,
)
# Asked for by who is known to the account.
RESET_PASSWORD_KNOWN = replace(RESET_PASSWORD, key="RESET_PASSWORD_KNOWN")
RESETS = (RESET_PASSWORD, RESET_PASSWORD_KNOWN)
VERIFY_EMAIL = CodePurpose(
    key="VERIFY_EMAIL",
    guarded=_ATTRIBUTE_CODE,
    sends="VERIFY_EMAIL",
    message=AttributeCode,
    terms=lambda codes: (codes.attribute_digits, codes.attribute_ttl),
)
VERIFY_PHONE = replace(VERIFY_EMAIL, key="VERIFY_PHONE", sends="VERIFY_PHONE")
PURPOSES = (SIGN_UP, *RESETS, VERIFY_EMAIL, VERIFY_PHONE)


@dataclass(frozen=True, slots=True)
class CodeRef:
    """Name a code: what it is for, whose it is, and the one thing that it verifies, if it is bound to that.

    Tries at it are counted by `typed`, where it is asked for and given by another name than whose it is. One of many is
    good with a session of its own, so that a later one must not stop its message.
    """

    purpose: CodePurpose
    username_key: UsernameKey
    bound_to: str = ""
    typed: UsernameKey | None = None
    is_one_of_many: bool = False

    @property
    def names(self) -> list[UsernameKey]:
        """Return the names by which tries at it are counted."""
        return [self.username_key] if self.typed in (None, self.username_key) else [self.username_key, self.typed]

    @property
    def supersede_key(self) -> str:
        """Return the key under which a later message of the same purpose replaces one that waits."""
        return f"{self.purpose.key} {self.username_key}"


@dataclass(frozen=True, slots=True)
class Issued:
    """Hold what is stored of a code, and when it ends."""

    digest: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CodeDelivery:
    """Hold where a code is on its way to: the masked address of the attribute."""

    destination: str
    medium: Medium = Medium.EMAIL
    attribute_name: str = "email"


@dataclass(frozen=True, kw_only=True, slots=True)
class Codes:
    """Issue and verify the codes of one name, whether an account has it or not."""

    database: Database
    ring: KeyRing
    throttle: Throttle
    notices: Notices
    settings: CodesSettings
    clock: Clock

    def expiry(self, purpose: CodePurpose, now: datetime) -> datetime:
        """Return when a code issued now ends."""
        _, life = purpose.terms(self.settings)
        return now + life

    async def spend_send(self, purpose: CodePurpose, username_key: UsernameKey) -> None:
        """Count a code to be sent to a signed-in user, before it is made.

        Raises:
            LimitExceeded: the user had their codes of this hour.
        """
        await self.throttle.spend_send(self._sends(purpose), username_key)

    async def spend_send_in(
        self, lane: Lane, purpose: CodePurpose, username_key: UsernameKey, *, caller: Caller
    ) -> None:
        """Count a code to be sent to a name, before it is made.

        Raises:
            LimitExceeded: the name had its codes of this hour in this lane, or for this source.
        """
        await self.throttle.spend_send_in(lane, self._sends(purpose), username_key, caller=caller)

    async def issue(
        self,
        executor: Executor,
        ref: CodeRef,
        to: Recipient | None,
        *,
        now: datetime,
        medium: Medium = Medium.EMAIL,
        owner: Recipient | None = None,
        address_key: str | None = None,
    ) -> Issued:
        """Replace a code and enqueue its message, in the caller's transaction.

        `to` None: nobody to send it to, but the same statements run. `owner`: the address belongs to another account,
        whose owner is told of it, and the code is sent to nobody. What is sent to nobody can be redeemed by nobody.
        `address_key` is the form in which the address that it verifies is told apart.
        """
        purpose, is_sent = ref.purpose, to is not None and owner is None
        digits, life = purpose.terms(self.settings)
        code = new_code(digits)
        issued = Issued(self.ring.digest(Purpose.CODE, *_parts(ref, code if is_sent else NO_CODE)), now + life)
        sent_to = self.throttle.address_digest(address_key or "")
        new = NewCode(
            username_key=ref.username_key,
            purpose=purpose.key,
            digest=issued.digest,
            expires_at=issued.expires_at,
            medium=medium,
            sent_to=sent_to if is_sent and address_key else None,
        )
        await codes.issue(executor, code=new, now=now)
        # Nothing has been guessed at a new code. Else a stranger's guesses at the former ones could lock its owner out.
        # After the code's row, as in `consume`: the other way round the two deadlock.
        await self.throttle.open(executor, ref.names, purpose.guarded)
        await self.notices.enqueue(
            executor,
            EmailTaken() if to and owner else purpose.message(code),
            (owner or to) if to else None,
            medium=medium,
            now=now,
            expires_at=issued.expires_at,
            supersede_key=None if ref.is_one_of_many else ref.supersede_key,
        )
        return issued

    async def try_code(self, ref: CodeRef, code: str, *, lane: Lane = STRANGERS) -> None:
        """Count a try and compare, committed at once; who passes goes on to `consume`.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: it was replaced, or there is no live code.
            LimitExceeded: too many tries for this name in this lane.
        """
        await self.throttle.spend_try(ref.purpose.guarded, ref.typed or ref.username_key, lane)
        await self.compare(ref, code)

    async def compare(self, ref: CodeRef, code: str) -> None:
        """Compare a code, a try at which was counted for its name, and count it against the code.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: it was replaced, or there is no live code.
        """
        may_be_right = await self._spend_try_at_address(ref)
        outcome = await codes.spend_try(
            self.database,
            username_key=ref.username_key,
            purpose=ref.purpose.key,
            digests=self.digests(ref, code),
            now=self.clock.now(),
            max_wrong=self.settings.max_wrong,
        )
        if outcome is None or (outcome.is_superseded and not outcome.is_right):
            raise CodeExpired
        if not outcome.is_right or not may_be_right:
            raise CodeMismatch

    async def _spend_try_at_address(self, ref: CodeRef) -> bool:
        """Count a try at the code of an address, whichever account it is for; False if no code of it may be right.

        What was sent to nobody is counted by its name, which takes the same statements: a stranger must not use the
        tries of an address up by names that have no code of it.
        """
        if not ref.purpose.verifies_address:
            return True
        address = await codes.find_address(
            self.database,
            username_key=ref.username_key,
            purpose=ref.purpose.key,
            now=self.clock.now(),
            max_wrong=self.settings.max_wrong,
        )
        # No address has a space.
        return await self.throttle.spend_try_at(address or self.throttle.address_digest(f"name {ref.username_key}"))

    async def forgive(self, ref: CodeRef, code: str) -> None:
        """Forget the tries at a code that was right, when something else stopped its use."""
        digests = self.digests(ref, code)
        await codes.forgive(self.database, username_key=ref.username_key, purpose=ref.purpose.key, digests=digests)
        await self.throttle.open(self.database, ref.names, ref.purpose.guarded)

    async def consume(self, executor: Executor, ref: CodeRef, code: str, *, now: datetime) -> Medium:
        """Use a right code up, in the transaction that does what it is for; return what carried it.

        Raises:
            CodeExpired: another call used or replaced it.
        """
        used = await codes.consume(
            executor, username_key=ref.username_key, purpose=ref.purpose.key, digests=self.digests(ref, code), now=now
        )
        if used is None:
            raise CodeExpired
        await self.throttle.open(executor, ref.names, ref.purpose.guarded)
        if used.sent_to is not None:
            await self.throttle.forget_tries_at(executor, used.sent_to)
        return used.medium

    def delivery(self, username_key: UsernameKey, email: str | None, *, may_be_phone: bool = False) -> CodeDelivery:
        """Return the masked address; for a name without one a made-up one that is always the same.

        A name with an `@` is an address that no account has: it is shown as one that an account has would be.

        `may_be_phone`: some accounts would be sent an SMS instead, so some names without one seem to be too.
        """
        if email is not None:
            return CodeDelivery(mask_email(email))
        # Under the oldest key: a new master key in front must not change it.
        digest = self.ring.digests(Purpose.MASK, username_key)[-1]
        if may_be_phone and digest[2] < MADE_UP_PHONES:
            return CodeDelivery(mask_phone(f"{int.from_bytes(digest[3:7]):04d}"), Medium.SMS, "phone_number")
        if "@" in username_key:
            return CodeDelivery(mask_email(username_key))
        local, domain = (chr(ord("a") + byte % 26) for byte in digest[:2])
        return CodeDelivery(mask_email(f"{local}@{domain}"))

    async def drop(self, executor: Executor, username_keys: Collection[UsernameKey], *purposes: CodePurpose) -> None:
        """End the codes of an account's names: what they were sent to is not the account's any more."""
        await codes.delete(executor, username_keys=list(username_keys), purposes=[each.key for each in purposes])

    def digests(self, ref: CodeRef, code: str) -> list[bytes]:
        """Return the digests by which a code is compared."""
        return self.ring.digests(Purpose.CODE, *_parts(ref, code))

    def _sends(self, purpose: CodePurpose) -> Sends:
        return Sends(purpose.sends, self.settings.sends_per_hour, self.settings.sends_to_strangers_per_hour)


def _parts(ref: CodeRef, code: str) -> tuple[str, ...]:
    return (ref.purpose.key, ref.username_key, code, *([ref.bound_to] if ref.bound_to else []))


def address_of(user: User, medium: Medium) -> str:
    """Return where an account's codes go over a medium; empty if it has no such address."""
    return (user.phone_number if medium is Medium.SMS else user.email) or ""


def delivery_of(user: User, medium: Medium) -> CodeDelivery:
    """Return the same, masked."""
    address = address_of(user, medium)
    if medium is Medium.SMS:
        return CodeDelivery(mask_phone(address), medium, "phone_number")
    return CodeDelivery(mask_email(address))
