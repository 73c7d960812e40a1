"""The attributes of a signed-in user: what they are, and how they change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from authsvc.config import Settings
from authsvc.core.access.changes import Change
from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.attributes import CONFIRMED_BY_CODE, AttributeRules, Attributes, field_of
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import SPECS
from authsvc.core.factors.rules import FactorRules
from authsvc.core.fields import Fields, parse_given, refused
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.names import Username
from authsvc.core.sessions.bearers import Bearer
from authsvc.errors import Conflict, Violation
from authsvc.store import users
from authsvc.store.db import RETRY_CONFLICT

MOST_ATTRIBUTES = 50


@dataclass(frozen=True, slots=True)
class UserAttributes:
    """Hold a user's attributes as they are in use, and the values that wait for their code."""

    attributes: dict[str, str]
    pending: dict[str, str]


class Profile:
    """Tell and change the attributes of a signed-in user."""

    def __init__(self, *, signed_in: SignedIn, confirmations: Confirmations, settings: Settings) -> None:
        self._signed_in = signed_in
        self._confirmations = confirmations
        self._rules = AttributeRules.of(settings)
        self._factor_rules = FactorRules(settings=settings.accounts)

    async def fetch(self, bearer: Bearer) -> UserAttributes:
        """Return the user's attributes, those that nobody writes among them.

        Raises:
            TokenRevoked: the account has just been erased.
        """
        user = await self._signed_in.find(bearer)
        attributes = {
            **user.claims,
            **{mark: str(is_verified).lower() for mark, is_verified in user.verified.items()},
            "sub": str(user.user_id),
            "updated_at": str(int((user.updated_at or user.created_at).timestamp())),
        }
        pending = {"email": user.pending_email, "phone_number": user.pending_phone_number}
        return UserAttributes(attributes, {name: value for name, value in pending.items() if value is not None})

    async def update(self, bearer: Bearer, values: Mapping[str, str]) -> dict[str, CodeDelivery | None]:
        """Set attributes, all or none; return of each where its code is on its way to, if it has to be verified first.

        Raises:
            InvalidFields: every broken rule at once.
            ReauthenticationRequired: the authentication is too old to change the address or the number.
            LimitExceeded: too many codes for this user, from this source or in all.
            Conflict: the address or the number was changed at the same time.
        """
        parsed = self._parse(values)
        is_sensitive = self._require_recent(bearer, values)
        new = self._confirmations.new_values(await self._signed_in.find(bearer), parsed)
        may_send = await self._confirmations.spend(new, bearer)
        others = {name: value for name, value in parsed.others.items() if name not in CONFIRMED_BY_CODE}
        details = {"names": " ".join(sorted(values))}
        kind = AuditKind.UPDATE_USER_ATTRIBUTES
        async with self._signed_in.change(bearer, kind, details, is_sensitive=is_sensitive) as change:
            user = change.user
            if self._confirmations.new_values(user, parsed) != new:
                raise Conflict(retry_after=RETRY_CONFLICT)
            if others:
                await users.merge_attributes(change.executor, user_id=user.user_id, attributes=others, now=change.now)
                # In the new language, if it is that.
                change.user = replace(user, attributes={**user.attributes, **others})
            sent = await self._confirmations.begin(change, parsed, new, may_send=may_send)
        return dict.fromkeys(values) | sent

    async def delete(self, bearer: Bearer, names: Collection[str]) -> None:
        """Remove attributes, all or none, with a value that waits; no error for those that are not there.

        Raises:
            InvalidFields: an attribute is unknown, not the user's to write, required, or a second factor.
            ReauthenticationRequired: the authentication is too old to remove the address or the number.
        """
        self._check_names(names)
        is_sensitive = self._require_recent(bearer, names)
        details = {"names": " ".join(sorted(set(names)))}
        kind = AuditKind.DELETE_USER_ATTRIBUTES
        async with self._signed_in.change(bearer, kind, details, is_sensitive=is_sensitive) as change:
            await self._require_spare(change, names)
            others = [name for name in names if name not in CONFIRMED_BY_CODE]
            await users.remove_attributes(change.executor, user_id=change.user.user_id, names=others, now=change.now)
            for name in CONFIRMED_BY_CODE:
                if name in names:
                    await self._confirmations.remove(change, name)

    def _require_recent(self, bearer: Bearer, names: Collection[str]) -> bool:
        is_sensitive = any(name in names for name in CONFIRMED_BY_CODE)
        if is_sensitive:
            self._signed_in.require_recent(bearer)
        return is_sensitive

    def _parse(self, values: Mapping[str, str]) -> Attributes:
        _require_number(values, "attributes")
        fields = Fields()
        for name in sorted(self._rules.known & values.keys()):
            fields.take(parse_given, values[name], field=field_of(name))
        given = {name: value for name, value in values.items() if value or name not in self._rules.known}
        attributes = fields.take(self._rules.parse, given)
        fields.check()
        return attributes.value

    def _check_names(self, names: Collection[str]) -> None:
        _require_number(names, "names")
        fields, rules = Fields(), self._rules
        fields.require(rules.known >= set(names), Violation("names", "UNKNOWN", "must be names of attributes"))
        fields.refuse(*_among(names, rules.read_only, "NOT_WRITABLE", text="must not be written by users"))
        fields.refuse(*_among(names, rules.required_of_users, "REQUIRED", text="must stay: every account has it"))
        fields.check()

    async def _require_spare(self, change: Change, names: Collection[str]) -> None:
        user = change.user
        factors = await self._factor_rules.find(change.executor, user)
        in_use = {SPECS[kind].attribute for kind in factors.in_use}
        signs_in_by = {"email"} if user.username_key == Username.of_id(user.user_id).key else set()
        fields = Fields()
        fields.refuse(*_among(names, in_use, "SECOND_FACTOR", text="must stay while it is a second factor"))
        fields.refuse(*_among(names, signs_in_by, "SIGN_IN_NAME", text="must stay: the user signs in by it"))
        fields.check()


def _require_number(given: Collection[str], field: str) -> None:
    if not 1 <= len(given) <= MOST_ATTRIBUTES:
        raise refused(field, "COUNT", f"must be 1 to {MOST_ATTRIBUTES}")


def _among(names: Collection[str], refused: Collection[str], rule: str, *, text: str) -> list[Violation]:
    return [Violation(f"names[{number}]", rule, text) for number, name in enumerate(names) if name in refused]
