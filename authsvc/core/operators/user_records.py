"""Accounts as they move between systems, and the rules that a row must keep to become one."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from authsvc.config import AccountsSettings
from authsvc.core.accounts.attributes import AttributeRules, Attributes
from authsvc.core.factors.kinds import ENROLLABLE
from authsvc.core.factors.rules import new_choices
from authsvc.core.factors.totp import DEFAULT_NAME, secret_binding
from authsvc.core.fields import Field, Fields, check_line, parse_uuid, refused
from authsvc.core.names import Username, parse_email, parse_username
from authsvc.core.operators.groups import parse_group
from authsvc.crypto.hash_fields import HashRefused
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.crypto.totp import TotpSecret
from authsvc.domain import DeviceId, FactorKind, Medium, User, UserId, UserStatus
from authsvc.errors import Violation
from authsvc.store.users.rows import Device, Password, WholeUser

FRIENDLY_NAME_CHARACTERS = 64
GROUPS = 100
# How far the clock of the system that rows come from may be ahead.
CLOCKS_APART = timedelta(minutes=5)

_Choice = TypeVar("_Choice", bound=enum.StrEnum)
# RFC 4226 §4, R6: a shared secret has 128 bits at least.
FEWEST_BITS = 128


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRules:
    """Turn rows into accounts."""

    hasher: PasswordHasher
    ring: KeyRing
    settings: AccountsSettings
    attributes: AttributeRules

    def parse(self, record: UserRecord, now: datetime) -> WholeUser:
        """Return the account of a row.

        Raises:
            InvalidFields: every rule that the row breaks.
        """
        fields = Fields()
        username, attributes = self._parse_names(fields, record)
        user_id = fields.take(_parse_user_id, record.user_id)
        hash_ = fields.take(self._parse_hash, record.password_hash)
        groups = [fields.take(parse_group, name, field="groups") for name in record.groups[: GROUPS + 1]]
        status = fields.take(_parse_one_of, record.status, UserStatus, field="status")
        preferable = [spec.kind for spec in ENROLLABLE]
        preferred = fields.take(_parse_one_of, record.preferred_mfa, preferable, field="preferred_mfa")
        recovered_by = fields.take(_parse_one_of, record.password_recovered_by, Medium, field="password_recovered_by")
        for moment, name in ((record.created_at, "created_at"), (record.updated_at, "updated_at")):
            fields.take(_check_past, moment, now, field=name)
        fields.require(len(record.groups) <= GROUPS, Violation("groups", "LIMIT", f"must be at most {GROUPS}"))
        secrets = self._parse_devices(fields, record.totp_devices, now)
        fields.check()
        named = username.value if username else Username.of_id(user_id.value)
        email = attributes.value.email
        kept = (status.valid or UserStatus.CONFIRMED) if hash_.valid else UserStatus.RESET_REQUIRED
        user = User(
            user_id=user_id.value,
            username=named.display,
            username_key=named.key,
            status=kept,
            email=email.address if email else None,
            email_key=email.key if email else None,
            email_verified_at=now if record.email_verified else None,
            attributes=attributes.value.others,
            phone_verified_at=now if record.phone_number_verified else None,
            created_at=record.created_at or now,
            updated_at=record.updated_at,
            # As long as a sign-up that nobody confirms.
            reserved_until=now + self.settings.unconfirmed_purge if kept is UserStatus.UNCONFIRMED else None,
            disabled_at=now if record.disabled else None,
        )
        return WholeUser(
            user=user,
            factors=new_choices(record.factors, preferred.valid),
            preferred=preferred.valid,
            password=Password(hash_.valid, record.password_expires_at, recovered_by.valid),
            devices=tuple(
                self._device(device, secret.value, user.user_id, now=now)
                for device, secret in zip(record.totp_devices, secrets, strict=True)
            ),
            groups=tuple(sorted({group.value for group in groups})),
        )

    def _parse_names(self, fields: Fields, record: UserRecord) -> tuple[Field[Username] | None, Field[Attributes]]:
        """Take the name, None where an address stands for it, and the attributes, with what is said of them."""
        # As at a sign-up: whom an address names here is named by the id, and the address is one attribute.
        by_email = self.settings.sign_in_by_email and "@" in record.username
        username = None if by_email else fields.take(parse_username, record.username)
        given = {"email": record.username, **record.attributes} if by_email else record.attributes
        attributes = fields.take(self.attributes.parse, given, by_operator=True)
        if attributes.valid is not None:
            email = attributes.valid.email
            # No address at all is another one.
            is_same = not by_email or email == Fields().take(parse_email, record.username).valid
            fields.require(is_same, Violation("username", "EMAIL", 'must be the same address as attributes["email"]'))
            holds = not record.email_verified or email is not None or not is_same
            fields.require(holds, Violation("email_verified", "ABSENT", "must be false without an e-mail address"))
        holds = not record.phone_number_verified or "phone_number" in record.attributes
        fields.require(holds, Violation("phone_number_verified", "ABSENT", "must be false without a phone number"))
        return username, attributes

    def _parse_hash(self, text: str) -> str | None:
        try:
            return self.hasher.stored_form(text) if text else None
        except HashRefused as error:
            raise refused("password_hash", error.rule, error.description) from error

    def _parse_devices(self, fields: Fields, devices: Sequence[TotpRecord], now: datetime) -> list[Field[TotpSecret]]:
        limit = self.settings.totp_device_limit
        fields.require(len(devices) <= limit, Violation("totp_devices", "LIMIT", f"must be at most {limit}"))
        secrets = []
        for index, device in enumerate(devices[:limit]):
            at = f"totp_devices[{index}]"
            secrets.append(fields.take(self._parse_secret, device.secret, field=f"{at}.secret"))
            name, field_ = device.friendly_name, f"{at}.friendly_name"
            fields.take(check_line, name, FRIENDLY_NAME_CHARACTERS, field=field_, rule="NAME")
            fields.take(_check_past, device.verified_at, now, field=f"{at}.verified_at")
        return secrets

    def _parse_secret(self, text: str, *, field: str) -> TotpSecret:
        secret = TotpSecret.parse(text)
        if secret is None:
            raise refused(field, "BASE32", "must be 80 to 512 bits in base32")
        if secret.bits < FEWEST_BITS and not self.settings.import_short_totp_secrets:
            description = f"must have {FEWEST_BITS} bits, unless accounts.import_short_totp_secrets allows fewer"
            raise refused(field, "SHORT", description)
        return secret

    def _device(self, device: TotpRecord, secret: TotpSecret, user_id: UserId, *, now: datetime) -> Device:
        device_id = DeviceId(new_id())
        binding = secret_binding(device_id, user_id)
        sealed = self.ring.seal(Purpose.TOTP_SECRET, secret.base32.encode(), bound_to=binding)
        return Device(
            device_id=device_id,
            friendly_name=device.friendly_name or DEFAULT_NAME,
            sealed_secret=sealed,
            verified_at=device.verified_at or now,
        )


def _parse_user_id(text: str) -> UserId:
    return UserId(parse_uuid(text, field="user_id") if text else new_id())


def _parse_one_of(text: str, among: Iterable[_Choice], *, field: str) -> _Choice | None:
    named = {each.value: each for each in among}
    if text and text not in named:
        raise refused(field, "UNKNOWN", f"must be one of {', '.join(named)}")
    return named.get(text)


def _check_past(moment: datetime | None, now: datetime, *, field: str) -> None:
    if moment is not None and moment > now + CLOCKS_APART:
        raise refused(field, "FUTURE", "must not be in the future")
