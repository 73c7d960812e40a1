"""Attributes that operators set and remove: in use at once, without a code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from authsvc.core.access.changes import Change
from authsvc.core.accounts.attributes import AttributeRules, Attributes
from authsvc.core.accounts.lookup import NamedUser, parse_user
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import sent_to
from authsvc.core.fields import Fields
from authsvc.core.messages.codes import RESETS, SIGN_UP, VERIFY_EMAIL, VERIFY_PHONE, Codes
from authsvc.core.messages.kinds import EmailChanged, MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.names import mask_email
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.domain import User
from authsvc.errors import EmailExists, Violation
from authsvc.store import challenges, passwords
from authsvc.store.factors import preferences
from authsvc.store.users import addresses

EMAIL = "email"
PHONE_NUMBER = "phone_number"
MOST_REMOVED = 100


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """Hold what an operator changes; as sent, not validated. None leaves a mark of verification to its rule."""

    values: Mapping[str, str]
    removed: Collection[str]
    email_verified: bool | None
    phone_number_verified: bool | None

    def __repr__(self) -> str:
        return "AttributeChange(…)"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeAdmin:
    """Change attributes for operators."""

    codes: Codes
    notices: Notices
    changes: Changes
    rules: AttributeRules

    async def update(self, named: NamedUser, change: AttributeChange, operator: Operator) -> None:
        """Set and remove attributes, all or none, and tell a verified address that is replaced.

        Raises:
            InvalidFields: every broken rule at once.
            UserNotFound: there is no such user.
            EmailExists: the address is to count as verified, and is another account's.
        """
        fields = Fields()
        ref = fields.take(parse_user, named)
        few = len(change.removed) <= MOST_REMOVED
        fields.require(few, Violation("remove_attributes", "COUNT", f"must have at most {MOST_REMOVED} names"))
        fields.check()
        set_ = self._parse(change)
        kind = AuditKind.ADMIN_UPDATE_USER_ATTRIBUTES
        async with self.changes.of(ref.value, operator, kind, **_details(change)) as held:
            tx, user, now = held.executor, held.user, held.now
            changed = _changed(user, change, set_, now=now)
            if not await addresses.replace_attributes(tx, user=changed, now=now):
                raise EmailExists
            had = await preferences.find(tx, user_id=user.user_id)
            for name, value in ((EMAIL, changed.email), (PHONE_NUMBER, changed.phone_number)):
                if value is None:
                    # What is gone is no second factor any more.
                    await preferences.remove(tx, user_id=user.user_id, kind=sent_to(name).kind)
            has_email, has_number = changed.email_key == user.email_key, changed.phone_number == user.phone_number
            await self._end_what_was_sent(held, has_email=has_email, has_number=has_number)
            if not has_email:
                masked = mask_email(changed.email) if changed.email else ""
                await self.notices.tell(tx, user, EmailChanged(masked), now=now)
            if sent_to(PHONE_NUMBER).is_enabled(had) and not has_number:
                await self.notices.tell(tx, user, MfaChanged(MfaChange.PREFERENCE_CHANGED), now=now)

    def _parse(self, change: AttributeChange) -> Attributes:
        fields = Fields()
        attributes = fields.take(self.rules.parse, change.values, by_operator=True)
        removed, field = set(change.removed), "remove_attributes"
        contradicts = not removed.isdisjoint(change.values)
        fields.require(not contradicts, Violation(field, "CONTRADICTION", "must not name attributes that are set"))
        fields.require(
            removed <= self.rules.known, Violation(field, "UNKNOWN", "must name only attributes that there are")
        )
        fields.require(
            removed.isdisjoint(self.rules.required), Violation(field, "REQUIRED", "must not name required attributes")
        )
        fields.check()
        return attributes.value

    async def _end_what_was_sent(self, held: Change, *, has_email: bool, has_number: bool) -> None:
        """End what was sent to what is the account's no longer: whoever reads it may be why it was changed."""
        if has_email and has_number:
            return
        purposes = [*RESETS]
        purposes += [] if has_email else [SIGN_UP, VERIFY_EMAIL]
        purposes += [] if has_number else [VERIFY_PHONE]
        await self.codes.drop(held.executor, held.user.names, *purposes)
        if not has_email:
            await passwords.end_mailed(held.executor, user_id=held.user.user_id, now=held.now)
            await self.notices.withdraw_invitation(held.executor, held.user, now=held.now)
        # Among half-done sign-ins are those that wait for a code.
        await challenges.delete_of_user(held.executor, user_id=held.user.user_id)


def _details(change: AttributeChange) -> dict[str, str]:
    """Name what is changed, without values, and whose proof the operator stands in for."""
    said = {"email_verified": change.email_verified, "phone_number_verified": change.phone_number_verified}
    named = {"attributes": " ".join(sorted({*change.values, *change.removed}))}
    return named | {mark: str(value).lower() for mark, value in said.items() if value is not None}


def _changed(user: User, change: AttributeChange, set_: Attributes, *, now: datetime) -> User:
    """Return the account with other attributes; its addresses that wait for a code go with those that are named.

    Raises:
        InvalidFields: what is to count as verified is not there.
    """
    kept = {name: value for name, value in user.attributes.items() if name not in change.removed}
    changed = replace(user, attributes={**kept, **set_.others})
    if set_.email is not None:
        changed = replace(changed, email=set_.email.address, email_key=set_.email.key)
    elif EMAIL in change.removed:
        changed = replace(changed, email=None, email_key=None)
    fields = Fields()
    claims = (
        (change.email_verified, changed.email, "email_verified", EMAIL),
        (change.phone_number_verified, changed.phone_number, "phone_number_verified", PHONE_NUMBER),
    )
    for said, value, field, name in claims:
        fields.require(not said or value is not None, Violation(field, "MISSING", f"needs the attribute {name}"))
    fields.check()
    same_email, same_number = changed.email_key == user.email_key, changed.phone_number == user.phone_number
    named = {*change.removed, *change.values}
    return replace(
        changed,
        email_verified_at=_verified_at(change.email_verified, user.email_verified_at if same_email else None, now),
        phone_verified_at=_verified_at(
            change.phone_number_verified, user.phone_verified_at if same_number else None, now
        ),
        pending_email=None if EMAIL in named else user.pending_email,
        pending_email_key=None if EMAIL in named else user.pending_email_key,
        pending_phone_number=None if PHONE_NUMBER in named else user.pending_phone_number,
    )


def _verified_at(said: bool | None, before: datetime | None, now: datetime) -> datetime | None:
    """Return since when a value counts as verified: as the operator says, or else since `before`."""
    if said is None:
        return before
    return (before or now) if said else None
