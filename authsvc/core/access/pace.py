"""How many calls one session, and one user over all sessions, may make: counted in this process, at no statement."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from authsvc.config import LimitsSettings
from authsvc.domain import SessionId, UserId
from authsvc.errors import LimitExceeded

WINDOW = timedelta(minutes=1)
# Of more the one that called longest ago is forgotten, which gives it its calls back.
REMEMBERED = 20_000


class UserAction(enum.StrEnum):
    """Name what is limited by session and user. The values are stored."""

    ACCOUNT = "CHANGE_ACCOUNT"
    REFRESH = "REFRESH"


class Pace:
    """Let so many calls through at once, and as many in each minute after."""

    def __init__(self, *, per_minute: int) -> None:
        self._interval = WINDOW / per_minute
        # When the calls so far would have been made at an even pace (the generic cell rate algorithm).
        self._even: OrderedDict[Hashable, datetime] = OrderedDict()

    def spend(self, who: Hashable, now: datetime) -> None:
        """Count a call.

        Raises:
            LimitExceeded: there were too many, until `retry_after`.
        """
        even = max(self._even.get(who, now), now)
        late = even + self._interval - (now + WINDOW)
        if late > timedelta():
            raise LimitExceeded(retry_after=late)
        self._even[who] = even + self._interval
        self._even.move_to_end(who)
        if len(self._even) > REMEMBERED:
            self._even.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Paces:
    """Hold both bounds of calls with a token."""

    sessions: Pace
    users: Pace

    @classmethod
    def of(cls, limits: LimitsSettings) -> Self:
        """Make them by the settings."""
        return cls(Pace(per_minute=limits.calls_per_session), Pace(per_minute=limits.calls_per_user))

    def spend_session(self, session_id: SessionId, now: datetime) -> None:
        """Count a call of a session, before anything is asked for it; see `Pace.spend`."""
        self.sessions.spend(session_id, now)

    def spend_user(self, user_id: UserId, now: datetime) -> None:
        """Count a call of a user; see `Pace.spend`."""
        self.users.spend(user_id, now)
