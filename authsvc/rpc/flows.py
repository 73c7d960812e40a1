"""What AuthService calls."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.audit_events import AuditEvents
from authsvc.core.confirmations import Confirmations
from authsvc.core.deletion import Deletion
from authsvc.core.identities import Identities
from authsvc.core.mfa import Mfa
from authsvc.core.password_policy import PasswordPolicy
from authsvc.core.passwords import Passwords
from authsvc.core.profile import Profile
from authsvc.core.reauthentication import Reauthentication
from authsvc.core.recovery import Recovery
from authsvc.core.sessions import Bearer, Sessions
from authsvc.core.sign_in import SignIn
from authsvc.core.sign_up import SignUp
from authsvc.core.signing_keys import SigningKeys
from authsvc.core.totp import Totp
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
    sessions: Sessions
    passwords: Passwords
    policy: PasswordPolicy
    signing_keys: SigningKeys
    events: AuditEvents

    async def bearer(self) -> Bearer:
        """Return whom the access token of the present call stands for.

        Raises:
            TokenInvalid, TokenExpired, TokenRevoked: see `Sessions.authenticate`.
        """
        call = current_call.get()
        return await self.sessions.authenticate(call.access_token, call.caller)
