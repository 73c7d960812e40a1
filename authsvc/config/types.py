"""The kinds of values that settings have."""

from __future__ import annotations

import enum
from datetime import timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def _seconds(value: object) -> object:
    try:
        return timedelta(seconds=float(value)) if isinstance(value, str | int | float) else value
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a number of seconds") from error


def _commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _caller(value: object) -> object:
    try:
        return ip_network(value, strict=False) if isinstance(value, str) else value
    except ValueError:
        return value


def _mail_address(value: str) -> str:
    try:
        address = Address(addr_spec=value)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise ValueError("must be an e-mail address") from error
    if not address.username or not address.domain:
        raise ValueError("must be an e-mail address")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]
# Given but empty, as in a compose file with an unset variable, is not given.
OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]
# Out there a number of seconds, in here a timedelta.
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
TrustedCaller = Annotated[IPv4Network | IPv6Network | str, BeforeValidator(_caller)]
# Out there separated by commas.
TrustedCallers = Annotated[tuple[TrustedCaller, ...], BeforeValidator(_commas)]


def milliseconds(count: int) -> timedelta:
    """Return a duration, for defaults and bounds."""
    return timedelta(milliseconds=count)


def seconds(count: int) -> timedelta:
    """Return a duration, for defaults and bounds."""
    return timedelta(seconds=count)


def minutes(count: int) -> timedelta:
    """Return a duration, for defaults and bounds."""
    return timedelta(minutes=count)


def hours(count: int) -> timedelta:
    """Return a duration, for defaults and bounds."""
    return timedelta(hours=count)


def days(count: int) -> timedelta:
    """Return a duration, for defaults and bounds."""
    return timedelta(days=count)


class MfaMode(enum.StrEnum):
    """Say whether sign-ins need a second factor."""

    OFF = "OFF"
    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class Section(BaseModel):
    """Hold the settings of one section; frozen, and without room for unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
