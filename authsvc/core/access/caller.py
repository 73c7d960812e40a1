"""On whose behalf a call is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold where a call comes from.

    `source` is what source limits are counted by: the end user's address as told by a trusted caller (IPv6 by its /64),
    or the address of a caller that is not trusted. A trusted caller that tells none is a source by itself, `caller:…`,
    with a limit of its own: `is_unnamed`. `ip` and `user_agent` are the end user's, for the list of sessions; empty
    unless told by a trusted caller. `request_id` is the call's, for the audit trail.
    """

    source: str = ""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    is_unnamed: bool = False
