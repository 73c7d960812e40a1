"""What AuthService calls."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.password_reset import PasswordReset, ResetCodes
from authsvc.core.accounts.passwords import PasswordUpdate
from authsvc.core.accounts.profile import Profile
from authsvc.core.accounts.sign_up import SignUp
from authsvc.core.accounts.sign_up_codes import SignUpCodes
from authsvc.core.audit.events import AuditEvents
from authsvc.core.factors.authenticators import Authenticators
from authsvc.core.factors.preferences import Preferences
from authsvc.core.factors.recovery import RecoveryCodes
from authsvc.core.sessions.bearers import Bearer, Bearers
from authsvc.core.sessions.refresh import Refreshes
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sessions.user_sessions import UserSessions
from authsvc.core.sign_in.flow import SignIn, SignInSteps
from authsvc.core.sign_in.reauthentication import Reauthentication
from authsvc.rpc.call import current_call


@dataclass(frozen=True, slots=True)
class Flows:
    """Hold what AuthService calls."""

    sign_up: SignUp
    sign_up_codes: SignUpCodes
    sign_in: SignIn
    sign_in_steps: SignInSteps
    authenticators: Authenticators
    recovery_codes: RecoveryCodes
    preferences: Preferences
    reauthentication: Reauthentication
    profile: Profile
    confirmations: Confirmations
    deletion: Deletion
    bearers: Bearers
    refreshes: Refreshes
    sessions: UserSessions
    reset_codes: ResetCodes
    password_reset: PasswordReset
    password_update: PasswordUpdate
    signing_keys: SigningKeys
    events: AuditEvents

    async def bearer(self) -> Bearer:
        """Return whom the access token of the present call stands for.

        Raises:
            TokenInvalid, TokenExpired, TokenRevoked: see `Bearers.authenticate`.
        """
        call = current_call.get()
        return await self.bearers.authenticate(call.access_token, call.caller)
