"""On whose behalf a call is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

# Prefix lengths of the networks that a source is counted by, the narrowest first. A subscriber of IPv6 has a /64 at
# least, and often a /56 or a /48 (RFC 6177).
NESTED = {4: (32, 24), 6: (64, 56, 48)}


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold where a call comes from.

    `source` is what source limits are counted by: the end user's address as told by a trusted caller (IPv6 by its /64),
    or the address of a caller that is not trusted. A trusted caller that tells none is a source by itself, `caller:…`,
    with a limit of its own: `is_unnamed`. `ip` and `user_agent` are the end user's, for the list of sessions; empty
    unless told by a trusted caller. `request_id` is the call's, for the audit trail. `device_token` is what the caller
    shows to be known by, as sent; see `lanes`.
    """

    source: str = ""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    is_unnamed: bool = False
    device_token: str = field(default="", repr=False)

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the source and the networks around it, the narrowest first; none if there is no source.

        What is a source and no network stands alone.
        """
        return _networks_of(self.source)

    @property
    def network(self) -> str:
        """Return the source if it is a network, which somebody can be known by; else empty."""
        return self.source if _parse(self.source) else ""


@lru_cache(4096)
def _networks_of(source: str) -> tuple[str, ...]:
    network = _parse(source)
    if network is None:
        return (source,) if source else ()
    wider = (str(network.supernet(new_prefix=length)) for length in NESTED[network.version][1:])
    return (source, *wider)


def _parse(source: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(source)
    except ValueError:
        return None
