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
from authsvc.crypto.tokens import new_id
from authsvc.rpc.sockets import Address, unmapped
from authsvc.rpc.status import REQUEST_ID

AUTHORIZATION = "authorization"
CLIENT_IP = "authsvc-client-ip"
CLIENT_USER_AGENT = "authsvc-client-user-agent"
ADMIN_KEY = "authsvc-admin-key"
USER_AGENT_CHARACTERS = 256

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
    # Who calls a service that is for operators; else empty.
    operator: str = ""

    def __repr__(self) -> str:
        return f"Call({self.request_id})"


current_call: ContextVar[Call] = ContextVar("current_call")


def metadata_of(context: Context) -> dict[str, str]:
    """Return the text metadata of a call; of a name given twice the last value."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


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

    def caller_of(self, context: Context, metadata: dict[str, str], request_id: str) -> Caller:
        """Return on whose behalf a call is made.

        Raises:
            InvalidFields: a trusted caller tells an address that is none.
        """
        peer = self._address_of(context.peer())
        if not self._is_trusted(context, peer):
            return Caller(source=_source_of(peer) if peer is not None else "", request_id=request_id)
        user_agent = metadata.get(CLIENT_USER_AGENT, "")[:USER_AGENT_CHARACTERS]
        told = metadata.get(CLIENT_IP)
        if not told:
            return Caller(user_agent=user_agent, request_id=request_id)
        try:
            address = unmapped(ip_address(told))
        except ValueError:
            address = None
        # A zone (RFC 4007) means nothing outside the machine that it is of, and may be any text.
        if address is None or "%" in told:
            raise refused(CLIENT_IP, "ADDRESS", "must be an IPv4 or IPv6 address")
        return Caller(source=_source_of(address), ip=str(address), user_agent=user_agent, request_id=request_id)

    def _is_trusted(self, context: Context, peer: Address | None) -> bool:
        if peer is not None and any(peer in network for network in self._networks):
            return True
        if not self._identities:
            return False
        return not self._identities.isdisjoint(certificate_names_of(context))


def certificate_names_of(context: Context) -> list[str]:
    """Return the names in the certificate that the peer has shown: alternative ones, then the common one."""
    presented = context.auth_context()
    names = (*presented.get("x509_subject_alternative_name", ()), *presented.get("x509_common_name", ()))
    return [name.decode(errors="replace") for name in names]


def access_token_of(metadata: dict[str, str]) -> str | None:
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
