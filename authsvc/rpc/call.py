"""What a call says of itself: request id, bearer token, on whose behalf it is made, and the names of its peer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import unquote

import grpc

from authsvc.config import TrustedCallers
from authsvc.core.access.caller import Caller
from authsvc.core.fields import refused
from authsvc.core.operators.identity import Identity
from authsvc.crypto.tokens import new_id
from authsvc.errors import InvalidFields, Violation
from authsvc.rpc.sockets import Address, unmapped
from authsvc.rpc.status import REQUEST_ID

AUTHORIZATION = "authorization"
CLIENT_IP = "authsvc-client-ip"
CLIENT_USER_AGENT = "authsvc-client-user-agent"
ADMIN_KEY = "authsvc-admin-key"
OURS = "authsvc-"
USER_AGENT_CHARACTERS = 256

# Kinds of names in certificates, and where gRPC has them.
_CERTIFICATE_NAMES = {"dns": "peer_dns", "uri": "peer_uri", "cn": "x509_common_name"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)

# Generic in the stubs alone.
Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


@dataclass(frozen=True, slots=True)
class Call:
    """Hold what the metadata of one call says."""

    request_id: str
    access_token: str | None
    caller: Caller
    # Who calls a service that is for operators.
    operator: Identity | None = None

    def __repr__(self) -> str:
        return f"Call({self.request_id})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """Hold the text metadata of a call, and which of its keys were given more than once."""

    values: Mapping[str, str]
    doubled: tuple[str, ...]

    def require_single(self) -> None:
        """See that no key was given twice.

        Raises:
            InvalidFields: one was, or several.
        """
        if self.doubled:
            raise InvalidFields(
                violations=tuple(Violation(key, "REPEATED", "must be given once") for key in self.doubled)
            )


current_call: ContextVar[Call] = ContextVar("current_call")


def metadata_of(context: Context) -> Metadata:
    """Return the text metadata of a call.

    Of what authsvc reads, a key that is given twice is as good as not given: whichever value was taken, somebody on the
    way may have taken the other. Others may be repeated.
    """
    values: dict[str, str] = {}
    doubled: list[str] = []
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            if key in values and (key == AUTHORIZATION or key.startswith(OURS)):
                doubled.append(key)
            values[key] = value
    for key in doubled:
        values.pop(key, None)
    return Metadata(values=values, doubled=tuple(sorted(set(doubled))))


def request_id_of(metadata: Mapping[str, str]) -> str:
    """Return the caller's request id, or a new one if there is none that is fit for logs."""
    given = metadata.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else str(new_id())


class Callers:
    """Decide whose word on the end user is believed."""

    def __init__(self, *, trusted: TrustedCallers) -> None:
        self._networks = tuple(entry for entry in trusted if not isinstance(entry, str))
        self._identities = frozenset(entry for entry in trusted if isinstance(entry, str))
        self._address_of = lru_cache(maxsize=4096)(address_of)

    def caller_of(self, context: Context, metadata: Mapping[str, str], request_id: str) -> Caller:
        """Return on whose behalf a call is made.

        Raises:
            InvalidFields: a trusted caller tells an address that is none.
        """
        peer = self._address_of(context.peer())
        trusted = self._trusted_name(context, peer)
        if trusted is None:
            return Caller(source=_source_of(peer) if peer is not None else "", request_id=request_id)
        user_agent = metadata.get(CLIENT_USER_AGENT, "")[:USER_AGENT_CHARACTERS]
        told = metadata.get(CLIENT_IP)
        if not told:
            return Caller(source=f"caller:{trusted}", is_unnamed=True, user_agent=user_agent, request_id=request_id)
        try:
            address = unmapped(ip_address(told))
        except ValueError:
            address = None
        # A zone (RFC 4007) means nothing outside the machine that it is of, and may be any text.
        if address is None or "%" in told:
            raise refused(CLIENT_IP, "ADDRESS", "must be an IPv4 or IPv6 address")
        return Caller(source=_source_of(address), ip=str(address), user_agent=user_agent, request_id=request_id)

    def _trusted_name(self, context: Context, peer: Address | None) -> str | None:
        """Return by what a caller is trusted: its certificate's name, or else its address; None if it is not."""
        if self._identities:
            for name in certificate_names_of(context):
                if name in self._identities:
                    return name
        if peer is not None and any(peer in network for network in self._networks):
            return _source_of(peer)
        return None


def certificate_names_of(context: Context) -> list[str]:
    """Return the names in the certificate that the peer has shown, each with its kind in front, as in the settings."""
    presented = context.auth_context()
    return [
        f"{kind}:{name.decode(errors='replace')}"
        for kind, property_ in _CERTIFICATE_NAMES.items()
        for name in presented.get(property_, ())
    ]


def access_token_of(metadata: Mapping[str, str]) -> str | None:
    """Return the token of `authorization: Bearer …` (RFC 6750 §2.1), or None."""
    match = _BEARER.fullmatch(metadata.get(AUTHORIZATION, ""))
    return match[1] if match else None


def address_of(peer: str) -> Address | None:
    """Return the address of a peer as gRPC names it; None if it has none, as over a Unix socket."""
    # `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000` with the brackets percent-encoded, `unix:…`
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return None
    return unmapped(ip_address(rest.rpartition(":")[0].strip("[]").partition("%")[0]))


def _source_of(address: Address) -> str:
    if isinstance(address, IPv6Address):
        # One subscriber has at least a /64 (RFC 6177).
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
