"""Accounts as they move between systems, and the rules that a row must keep to become one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from authsvc.config import AccountsSettings, CustomAttribute, MfaType
from authsvc.core.accounts.attributes import AttributeRules, has_control_characters
from authsvc.core.factors.rules import choices
from authsvc.core.factors.totp import DEFAULT_NAME, secret_binding
from authsvc.core.names import Username, parse_email, parse_username
from authsvc.core.operators.groups import parse_group
from authsvc.crypto.hash_fields import HashRefused
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.crypto.totp import TotpSecret
from authsvc.domain import DeviceId, FactorKind, Medium, User, UserId, UsernameKey, UserStatus
from authsvc.errors import InvalidFields, Violation
from authsvc.store.users import Device, Password, WholeUser

FRIENDLY_NAME_CHARACTERS = 64
GROUPS = 100
# How far the clock of the system that rows come from may be ahead.
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class TotpRecord:
    """Hold one authenticator, its secret in the clear."""

    secret: str = field(repr=False)
    friendly_name: str = ""
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Hold one account as a row tells it; empty text and None mean that the row doesn't tell."""

    username: str
    user_id: str = ""
    status: str = ""
    disabled: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    email_verified: bool = False
    phone_number_verified: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    # Which kinds count as second factors; one that is not among them is as its default has it.
    factors: Mapping[FactorKind, bool] = field(default_factory=dict)
    preferred_mfa: str = ""
    groups: tuple[str, ...] = ()
    password_hash: str = field(default="", repr=False)
    password_expires_at: datetime | None = None
    password_recovered_by: str = ""
    totp_devices: tuple[TotpRecord, ...] = ()


class RecordRules:
    """Turn rows into accounts."""

    def __init__(
        self,
        *,
        hasher: PasswordHasher,
        ring: KeyRing,
        settings: AccountsSettings,
        custom: Mapping[str, CustomAttribute],
    ) -> None:
        self._hasher = hasher
        self._ring = ring
        self._settings = settings
        self._attributes = AttributeRules(custom=custom)

    def parse(self, record: UserRecord, now: datetime) -> WholeUser | list[Violation]:
        """Return the account of a row, or every rule that the row breaks."""
        violations: list[Violation] = []
        user_id = _user_id(record.user_id)
        # As at a sign-up: whom an address names here is named by the id, and the address is one attribute.
        by_email = self._settings.sign_in_by_email and "@" in record.username
        username, attributes = Username("", UsernameKey("")), None
        try:
            named = Username(str(user_id), UsernameKey(str(user_id)))
            username = named if by_email else parse_username(record.username)
        except InvalidFields as error:
            violations += error.violations
        given = {"email": record.username, **record.attributes} if by_email else record.attributes
        try:
            attributes = self._attributes.parse(given, by_operator=True)
        except InvalidFields as error:
            violations += error.violations
        if attributes is None:
            pass
        elif by_email and attributes.email != parse_email(record.username):
            violations.append(Violation("username", "EMAIL", 'must be the same address as attributes["email"]'))
        elif record.email_verified and attributes.email is None:
            violations.append(Violation("email_verified", "ABSENT", "must be false without an e-mail address"))
        if record.phone_number_verified and "phone_number" not in record.attributes:
            violations.append(Violation("phone_number_verified", "ABSENT", "must be false without a phone number"))
        hash_ = self._hash(record.password_hash)
        groups = {parse_group(name, field="groups") for name in record.groups[: GROUPS + 1]}
        found = (user_id, hash_, *groups, *self._others(record, now))
        # Of one kind once: a row has many groups.
        violations += dict.fromkeys(each for each in found if isinstance(each, Violation))
        if violations or attributes is None or isinstance(user_id, Violation) or isinstance(hash_, Violation):
            return violations
        status = UserStatus(record.status or UserStatus.CONFIRMED) if hash_ else UserStatus.RESET_REQUIRED
        user = User(
            user_id=user_id,
            username=username.display,
            username_key=username.key,
            status=status,
            email=attributes.email.address if attributes.email else None,
            email_key=attributes.email.key if attributes.email else None,
            email_verified_at=now if record.email_verified else None,
            attributes=attributes.others,
            phone_verified_at=now if record.phone_number_verified else None,
            created_at=record.created_at or now,
            updated_at=record.updated_at,
            # As long as a sign-up that nobody confirms.
            reserved_until=now + self._settings.unconfirmed_purge if status is UserStatus.UNCONFIRMED else None,
            disabled_at=now if record.disabled else None,
        )
        preferred = FactorKind(record.preferred_mfa) if record.preferred_mfa else None
        return WholeUser(
            user=user,
            factors=choices(record.factors, preferred),
            preferred=preferred,
            password=Password(
                hash=hash_,
                expires_at=record.password_expires_at,
                recovered_by=Medium(record.password_recovered_by) if record.password_recovered_by else None,
            ),
            devices=tuple(self._devices(record.totp_devices, user_id, now)),
            groups=tuple(sorted(group for group in groups if isinstance(group, str))),
        )

    def _hash(self, text: str) -> str | Violation | None:
        try:
            return self._hasher.stored_form(text) if text else None
        except HashRefused as refused:
            return Violation("password_hash", refused.rule, refused.description)

    def _devices(self, devices: tuple[TotpRecord, ...], user_id: UserId, now: datetime) -> Iterator[Device]:
        for device in devices:
            device_id = DeviceId(new_id())
            secret = TotpSecret.parse(device.secret)
            if secret is not None:
                binding = secret_binding(device_id, user_id)
                sealed = self._ring.seal(Purpose.TOTP_SECRET, secret.base32.encode(), bound_to=binding)
                yield Device(device_id, device.friendly_name or DEFAULT_NAME, sealed, device.verified_at or now)

    def _others(self, record: UserRecord, now: datetime) -> Iterator[Violation]:
        if record.status and record.status not in set(UserStatus):
            yield Violation("status", "UNKNOWN", f"must be one of {', '.join(UserStatus)}")
        if record.preferred_mfa and record.preferred_mfa not in set(MfaType):
            yield Violation("preferred_mfa", "UNKNOWN", f"must be one of {', '.join(MfaType)}")
        if record.password_recovered_by and record.password_recovered_by not in set(Medium):
            yield Violation("password_recovered_by", "UNKNOWN", f"must be one of {', '.join(Medium)}")
        for name in ("created_at", "updated_at"):
            yield from _future(getattr(record, name), name, now)
        if len(record.groups) > GROUPS:
            yield Violation("groups", "LIMIT", f"must be at most {GROUPS}")
        limit = self._settings.totp_device_limit
        if len(record.totp_devices) > limit:
            yield Violation("totp_devices", "LIMIT", f"must be at most {limit}")
        for index, device in enumerate(record.totp_devices[:limit]):
            at = f"totp_devices[{index}]"
            if TotpSecret.parse(device.secret) is None:
                yield Violation(f"{at}.secret", "BASE32", "must be 80 to 512 bits in base32")
            if len(device.friendly_name) > FRIENDLY_NAME_CHARACTERS or has_control_characters(device.friendly_name):
                description = (
                    f"must have at most {FRIENDLY_NAME_CHARACTERS} characters, none of them a control character"
                )
                yield Violation(f"{at}.friendly_name", "NAME", description)
            yield from _future(device.verified_at, f"{at}.verified_at", now)


def _user_id(text: str) -> UserId | Violation:
    if not text:
        return UserId(new_id())
    try:
        return UserId(UUID(text))
    except ValueError:
        return Violation("user_id", "UUID", "must be a UUID")


def _future(time: datetime | None, name: str, now: datetime) -> Iterator[Violation]:
    if time is not None and time > now + CLOCKS_APART:
        yield Violation(name, "FUTURE", "must not be in the future")
