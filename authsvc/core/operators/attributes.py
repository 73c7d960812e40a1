"""Attributes that operators set and remove: in use at once, without a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from authsvc.config import Settings
from authsvc.core.access.changes import Change
from authsvc.core.accounts.attributes import AttributeRules
from authsvc.core.accounts.lookup import UserRef
from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import Fields
from authsvc.core.messages.codes import RESET_PASSWORD, SIGN_UP, VERIFY_EMAIL, VERIFY_PHONE, Codes
from authsvc.core.messages.kinds import EmailChanged, MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.names import mask_email
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.domain import FactorKind
from authsvc.errors import EmailExists, InvalidFields, Violation
from authsvc.store import challenges, passwords, users
from authsvc.store.factors import preferences

EMAIL = "email"
PHONE_NUMBER = "phone_number"


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """Hold what an operator changes; as sent, not validated. None leaves a mark of verification to its rule."""

    values: Mapping[str, str]
    removed: frozenset[str]
    email_verified: bool | None
    phone_number_verified: bool | None

    def __repr__(self) -> str:
        return "AttributeChange(…)"


class AttributeAdmin:
    """Change attributes for operators."""

    def __init__(self, *, codes: Codes, notices: Notices, changes: Changes, settings: Settings) -> None:
        self._codes = codes
        self._notices = notices
        self._changes = changes
        self._rules = AttributeRules.of(settings)

    async def update(self, ref: UserRef, change: AttributeChange, operator: Operator) -> None:
        """Set and remove attributes, all or none, and tell a verified address that is replaced.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: every broken rule at once.
            EmailExists: the address is to count as verified, and is another account's.
        """
        fields = Fields()
        attributes = fields.take(self._rules.parse, change.values, by_operator=True)
        fields.refuse(*self._violations_of_removal(change))
        fields.check()
        parsed = attributes.value
        kind = AuditKind.ADMIN_UPDATE_USER_ATTRIBUTES
        async with self._changes.of(ref, operator, kind, **_details(change)) as held:
            user, now = held.user, held.now
            email, email_key = (None, None) if EMAIL in change.removed else (user.email, user.email_key)
            if parsed.email is not None:
                email, email_key = parsed.email.address, parsed.email.key
            kept = {name: value for name, value in user.attributes.items() if name not in change.removed}
            others = {**kept, **parsed.others}
            phone_number = others.get(PHONE_NUMBER)
            _require(change, email, phone_number)
            same_number = phone_number == user.attributes.get(PHONE_NUMBER)
            email_verified_at = _verified_at(
                change.email_verified, user.email_verified_at if email_key == user.email_key else None, now
            )
            named = change.removed | change.values.keys()
            changed = replace(
                user,
                email=email,
                email_key=email_key,
                email_verified_at=email_verified_at,
                attributes=others,
                phone_verified_at=_verified_at(
                    change.phone_number_verified, user.phone_verified_at if same_number else None, now
                ),
                pending_email=None if EMAIL in named else user.pending_email,
                pending_email_key=None if EMAIL in named else user.pending_email_key,
                pending_phone_number=None if PHONE_NUMBER in named else user.pending_phone_number,
            )
            if not await users.replace_attributes(held.executor, user=changed, now=now):
                raise EmailExists
            had = await preferences.find(held.executor, user_id=user.user_id)
            # What is gone is no second factor any more.
            if email is None:
                await preferences.remove(held.executor, user_id=user.user_id, kind=FactorKind.EMAIL)
            if phone_number is None:
                await preferences.remove(held.executor, user_id=user.user_id, kind=FactorKind.SMS)
            await self._end_what_was_sent(held, has_email=email_key == user.email_key, has_number=same_number)
            if email_key != user.email_key:
                masked = mask_email(email) if email else ""
                await self._notices.tell(held.executor, user, EmailChanged(masked), now=now)
            if FactorKind.SMS in had.enabled and not same_number:
                await self._notices.tell(held.executor, user, MfaChanged(MfaChange.PREFERENCE_CHANGED), now=now)

    async def _end_what_was_sent(self, held: Change, *, has_email: bool, has_number: bool) -> None:
        """End what was sent to what is the account's no longer: whoever reads it may be why it was changed."""
        if has_email and has_number:
            return
        purposes = [RESET_PASSWORD]
        purposes += [] if has_email else [SIGN_UP, VERIFY_EMAIL]
        purposes += [] if has_number else [VERIFY_PHONE]
        await self._codes.drop(held.executor, held.user.username_key, *purposes)
        if not has_email:
            await passwords.end_mailed(held.executor, user_id=held.user.user_id, now=held.now)
            await self._notices.withdraw_invitation(held.executor, held.user, now=held.now)
        # Among half-done sign-ins are those that wait for a code.
        await challenges.delete_of_user(held.executor, user_id=held.user.user_id)

    def _violations_of_removal(self, change: AttributeChange) -> list[Violation]:
        found = []
        if change.removed & change.values.keys():
            found.append(Violation("remove_attributes", "CONTRADICTION", "must not name attributes that are set"))
        if not change.removed <= self._rules.known:
            found.append(Violation("remove_attributes", "UNKNOWN", "must name only attributes that there are"))
        if change.removed & set(self._rules.required):
            found.append(Violation("remove_attributes", "REQUIRED", "must not name required attributes"))
        return found


def _details(change: AttributeChange) -> dict[str, str]:
    """Name what is changed, without values, and whose proof the operator stands in for."""
    said = {"email_verified": change.email_verified, "phone_number_verified": change.phone_number_verified}
    named = {"attributes": " ".join(sorted({*change.values, *change.removed}))}
    return named | {mark: str(value).lower() for mark, value in said.items() if value is not None}


def _verified_at(said: bool | None, before: datetime | None, now: datetime) -> datetime | None:
    """Return since when a value counts as verified: as the operator says, or else since `before`."""
    if said is None:
        return before
    return (before or now) if said else None


def _require(change: AttributeChange, email: str | None, phone_number: str | None) -> None:
    claims = (
        (change.email_verified, email, "email_verified", EMAIL),
        (change.phone_number_verified, phone_number, "phone_number_verified", PHONE_NUMBER),
    )
    missing = [
        Violation(field, "MISSING", f"needs the attribute {name}")
        for said, value, field, name in claims
        if said and value is None
    ]
    if missing:
        raise InvalidFields(violations=tuple(missing))
