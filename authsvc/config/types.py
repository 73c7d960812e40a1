"""The kinds of values that settings have."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from authsvc.domain import SECOND_FACTORS, AdminScope, FactorKind

# `dns:` and `uri:` are alternative names of the subject (RFC 5280 §4.2.1.6), `cn:` is its common name.
_CERTIFICATE_NAME = re.compile(r"(dns|uri|cn):\S(.*\S)?")


def sends_sms(kinds: Collection[FactorKind]) -> bool:
    """Tell whether second factors need the webhook for SMS."""
    return FactorKind.SMS in kinds


def _seconds(value: object) -> object:
    try:
        return timedelta(seconds=float(value)) if isinstance(value, str | int | float) else value
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a number of seconds") from error


def _commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError("must be JSON") from error


def _certificate_name(value: object) -> object:
    """Refuse a name without its kind: by a common name somebody could pass for the host of that name."""
    if not isinstance(value, str) or _CERTIFICATE_NAME.fullmatch(value):
        return value
    raise ValueError(
        f"{value!r} must say what kind of name in a certificate it is: dns:{value}, uri:{value} or cn:{value}"
    )


def _admin_identity(value: object) -> object:
    """Check `KIND:NAME=SCOPE+SCOPE`; a name that has an equals sign itself has scopes behind it."""
    if not isinstance(value, str) or "=" not in value:
        return _certificate_name(value)
    name, _, scopes = value.rpartition("=")
    if not set(scopes.split("+")) <= set(AdminScope):
        raise ValueError(
            f"{value!r} must end in scopes, one of {', '.join(AdminScope)}, or several with + between them"
        )
    _certificate_name(name)
    return value


def _caller(value: object) -> object:
    try:
        return ip_network(value, strict=False) if isinstance(value, str) else value
    except ValueError:
        return _certificate_name(value)


def _mail_address(value: str) -> str:
    try:
        address = Address(addr_spec=value)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise ValueError("must be an e-mail address") from error
    if not address.username or not address.domain:
        raise ValueError("must be an e-mail address")
    return value


def _web_address(value: str) -> str:
    if not value:
        return value
    try:
        url = urlsplit(value)
        # Reading the port is what checks it.
        is_whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be a URL like https://host/path")
    if "@" in url.netloc or url.fragment:
        raise ValueError("must be a URL without credentials and fragment")
    return value


def _second_factor(value: object) -> object:
    if value not in SECOND_FACTORS:
        raise ValueError(f"must be one of {', '.join(SECOND_FACTORS)}")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]
LanguageTag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35)]
# Or empty.
WebAddress = Annotated[str, AfterValidator(_web_address)]
# Given but empty, as in a compose file with an unset variable, is not given.
OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]
# Out there a number of seconds, in here a timedelta.
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
TrustedCaller = Annotated[IPv4Network | IPv6Network | str, BeforeValidator(_caller)]
# Out there separated by commas.
TrustedCallers = Annotated[tuple[TrustedCaller, ...], BeforeValidator(_commas)]


SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def field(default: object, description: str, **bounds: Any) -> Any:
    """Return a field with what it means, and with the bounds that pydantic knows."""
    return Field(default, description=description, **bounds)


class MfaMode(enum.StrEnum):
    """Say whether sign-ins need a second factor."""

    OFF = "OFF"
    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class UsernameScripts(enum.StrEnum):
    """Say which letters may stand together in a username that people choose (UTS 39 §5.2)."""

    ASCII_ONLY = "ASCII_ONLY"
    HIGHLY_RESTRICTIVE = "HIGHLY_RESTRICTIVE"
    UNRESTRICTED = "UNRESTRICTED"


class AttributeType(enum.StrEnum):
    """Name what the values of a custom attribute are."""

    STRING = "STRING"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATETIME = "DATETIME"


class Section(BaseModel):
    """Hold the settings of one section; frozen, and without room for unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def broken_rules(self) -> Iterator[str]:
        """Yield what contradicts itself, in words; bounds of one setting stand at its field instead."""
        yield from ()


class CustomAttribute(Section):
    """Declare one custom attribute."""

    type: AttributeType = AttributeType.STRING
    # Characters of a STRING, the value of a NUMBER; no bound for the others.
    min: int | None = None
    max: int | None = None
    # Whether the user may write it at sign-up and later; operators always may.
    user_may_write: bool = False


SecondFactor = Annotated[FactorKind, BeforeValidator(_second_factor)]
# Out there separated by commas.
MfaTypes = Annotated[tuple[SecondFactor, ...], BeforeValidator(_commas)]
Names = Annotated[tuple[str, ...], BeforeValidator(_commas)]
AdminIdentities = Annotated[tuple[Annotated[str, BeforeValidator(_admin_identity)], ...], BeforeValidator(_commas)]
# By name; in the environment as JSON, in the settings file as a table for each.
CustomAttributes = Annotated[dict[str, CustomAttribute], BeforeValidator(_json)]
