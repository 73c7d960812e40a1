"""The attributes of a signed-in user: what they are, and how they change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from authsvc.clock import Clock
from authsvc.config import MfaType, Settings
from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.attributes import CONFIRMED_BY_CODE, AttributeRules, Attributes, field_of
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.factors.rules import find_kinds
from authsvc.core.fields import Fields, parse_given
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.domain import User
from authsvc.errors import Conflict, TokenRevoked, Violation
from authsvc.store import users
from authsvc.store.db import RETRY_CONFLICT, Database, Executor


@dataclass(frozen=True, slots=True)
class UserAttributes:
    """Hold a user's attributes as they are in use, and the values that wait for their code."""

    attributes: dict[str, str]
    pending: dict[str, str]


class Profile:
    """Tell and change the attributes of a signed-in user."""

    def __init__(
        self,
        database: Database,
        bearers: Bearers,
        confirmations: Confirmations,
        audit: Audit,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._bearers = bearers
        self._confirmations = confirmations
        self._audit = audit
        self._rules = AttributeRules.of(settings)
        self._allowed = frozenset(settings.accounts.mfa_types)
        self._clock = clock

    async def fetch(self, bearer: Bearer) -> UserAttributes:
        """Return the user's attributes.

        Raises:
            TokenRevoked: the account has just been erased.
        """
        return attributes_of(await self._user(bearer))

    async def update(self, bearer: Bearer, values: Mapping[str, str]) -> dict[str, CodeDelivery | None]:
        """Set attributes, all or none; return of each where its code is on its way to, if it has to be verified first.

        Raises:
            InvalidFields: every broken rule at once.
            ReauthenticationRequired: the authentication is too old to change the address or the number.
            LimitExceeded: too many codes for this user, from this source or in all.
            Conflict: the address or the number was changed at the same time.
        """
        parsed = self._parse(values)
        if any(name in values for name in CONFIRMED_BY_CODE):
            self._bearers.require_recent(bearer)
        new = self._confirmations.new_values(await self._user(bearer), parsed)
        may_send = await self._confirmations.spend(new, bearer)
        now = self._clock.now()
        others = {name: value for name, value in parsed.others.items() if name not in CONFIRMED_BY_CODE}
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            if self._confirmations.new_values(user, parsed) != new:
                raise Conflict(retry_after=RETRY_CONFLICT)
            if others:
                await users.merge_attributes(transaction, user_id=user.user_id, attributes=others, now=now)
                user = replace(user, attributes={**user.attributes, **others})
            sent = await self._confirmations.begin(transaction, user, parsed, new, may_send, now=now)
            event = event_of(bearer, AuditKind.UPDATE_USER_ATTRIBUTES, names=" ".join(sorted(values)))
            await self._audit.record(transaction, event)
        return dict.fromkeys(values) | sent

    async def delete(self, bearer: Bearer, names: Collection[str]) -> None:
        """Remove attributes, all or none, with a value that waits; no error for those that are not there.

        Raises:
            InvalidFields: an attribute is unknown, not the user's to write, required, or a second factor.
            ReauthenticationRequired: the authentication is too old to remove the address or the number.
        """
        self._check_names(names)
        if any(name in names for name in CONFIRMED_BY_CODE):
            self._bearers.require_recent(bearer)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            await self._require_spare(transaction, user, names)
            others = [name for name in names if name not in CONFIRMED_BY_CODE]
            await users.remove_attributes(transaction, user_id=user.user_id, names=others, now=now)
            for name in CONFIRMED_BY_CODE:
                if name in names:
                    await self._confirmations.remove(transaction, user, name, now=now)
            event = event_of(bearer, AuditKind.DELETE_USER_ATTRIBUTES, names=" ".join(sorted(set(names))))
            await self._audit.record(transaction, event)

    async def _user(self, bearer: Bearer) -> User:
        user = await users.find_by_id(self._database, user_id=bearer.standing.user_id)
        if user is None:
            raise TokenRevoked
        return user

    def _parse(self, values: Mapping[str, str]) -> Attributes:
        fields = Fields()
        for name in sorted(self._rules.known & values.keys()):
            fields.take(parse_given, values[name], field=field_of(name))
        given = {name: value for name, value in values.items() if value or name not in self._rules.known}
        attributes = fields.take(self._rules.parse, given)
        fields.check()
        return attributes.value

    def _check_names(self, names: Collection[str]) -> None:
        fields, rules = Fields(), self._rules
        fields.require(rules.known >= set(names), "names", "UNKNOWN", "must be names of attributes")
        fields.refuse(*_among(names, rules.read_only, "NOT_WRITABLE", "must not be written by users"))
        fields.refuse(*_among(names, rules.required_of_users, "REQUIRED", "must stay: every account has it"))
        fields.check()

    async def _require_spare(self, executor: Executor, user: User, names: Collection[str]) -> None:
        kinds = await find_kinds(executor, user, self._allowed)
        attributes = {MfaType.EMAIL: "email", MfaType.SMS: "phone_number"}
        in_use = {attribute for kind, attribute in attributes.items() if kind in kinds.in_use}
        signs_in_by = {"email"} if user.username_key == str(user.user_id) else set()
        fields = Fields()
        fields.refuse(*_among(names, in_use, "SECOND_FACTOR", "must stay while it is a second factor"))
        fields.refuse(*_among(names, signs_in_by, "SIGN_IN_NAME", "must stay: the user signs in by it"))
        fields.check()


def _among(names: Collection[str], refused: Collection[str], rule: str, description: str) -> list[Violation]:
    return [Violation(f"names[{number}]", rule, description) for number, name in enumerate(names) if name in refused]


def attributes_of(user: User) -> UserAttributes:
    """Return an account's attributes by name, those that nobody writes among them."""
    attributes = {
        **user.claims,
        **{mark: str(is_verified).lower() for mark, is_verified in user.verified.items()},
        "sub": str(user.user_id),
        "updated_at": str(int((user.updated_at or user.created_at).timestamp())),
    }
    pending = {"email": user.pending_email, "phone_number": user.pending_phone_number}
    return UserAttributes(attributes, {name: value for name, value in pending.items() if value is not None})
