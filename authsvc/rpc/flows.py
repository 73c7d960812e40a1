"""What AuthService calls."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.login import Identities
from authsvc.core.accounts.password_policy import PasswordPolicy
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.accounts.profile import Profile
from authsvc.core.accounts.sign_up import SignUp
from authsvc.core.audit.events import AuditEvents
from authsvc.core.factors.preferences import Mfa
from authsvc.core.factors.recovery import Recovery
from authsvc.core.factors.totp import Totp
from authsvc.core.sessions.bearers import Bearer, Bearers
from authsvc.core.sessions.ends import SessionEnds
from authsvc.core.sessions.lists import SessionList
from authsvc.core.sessions.refresh import Refreshes
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sign_in.flow import SignIn
from authsvc.core.sign_in.reauthentication import Reauthentication
from authsvc.rpc.call import current_call


@dataclass(frozen=True, slots=True)
class Flows:
    """Hold what AuthService calls."""

    identities: Identities
    sign_up: SignUp
    sign_in: SignIn
    totp: Totp
    recovery: Recovery
    mfa: Mfa
    reauthentication: Reauthentication
    profile: Profile
    confirmations: Confirmations
    deletion: Deletion
    bearers: Bearers
    refreshes: Refreshes
    session_ends: SessionEnds
    session_list: SessionList
    passwords: Passwords
    policy: PasswordPolicy
    signing_keys: SigningKeys
    events: AuditEvents

    async def bearer(self) -> Bearer:
        """Return whom the access token of the present call stands for.

        Raises:
            TokenInvalid, TokenExpired, TokenRevoked: see `Bearers.authenticate`.
        """
        call = current_call.get()
        return await self.bearers.authenticate(call.access_token, call.caller)
