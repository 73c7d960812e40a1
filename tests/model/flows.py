"""The model's calls of people who are signed in, and of operators."""

from __future__ import annotations

from tests.model.reference import (
    EMAIL,
    KINDS,
    LONG_AGO,
    MOST_DEVICES,
    PASSWORD,
    RECENT,
    RECOVERY,
    REQUIRED,
    RESET_LIFE,
    SMS,
    TEMPORARY_LIFE,
    TOTP,
    Account,
    Device,
    Refused,
    ResetCode,
    Session,
    Token,
    all_or_nothing,
)
from tests.model.sign_ins import SignIns


class Model(SignIns):
    """Answer all calls."""

    def bearer(self, account: Account, token: Token, *, recent: bool = True) -> None:
        """Check an access token."""
        if token.ends <= self.now:
            raise Refused("TOKEN_EXPIRED")
        if account.username not in self.accounts or account.is_disabled or token.session not in account.sessions:
            raise Refused("TOKEN_REVOKED")
        if recent:
            self.current(token)
            if self.now - token.auth_time > RECENT:
                raise Refused("REAUTHENTICATION_REQUIRED")

    def current(self, token: Token) -> None:
        """Refuse a token of before the latest proof of its session."""
        if token.proofs != token.session.proofs:
            raise Refused("REAUTHENTICATION_REQUIRED")

    def prove(self, session: Session) -> Token:
        """Have a session's user proved again; the token that is returned alone stands for it."""
        session.auth_time, session.proofs = self.now, session.proofs + 1
        return Token(session, self.now)

    def update_password(self, account: Account, token: Token, previous: str, proposed: str) -> Token:
        """UpdatePassword: the token to go on with."""
        self.bearer(account, token)
        self.spend(account, PASSWORD, token.session)
        if previous != account.password:
            raise Refused("NOT_AUTHORIZED")
        account.password, account.password_ends, account.recovered_by = proposed, None, None
        account.end_all(but=token.session)
        self.open(account, PASSWORD)
        return self.prove(token.session)

    def associate_totp(self, account: Account, token: Token) -> None:
        """AssociateTotp."""
        self.bearer(account, token)
        if len(account.devices) >= MOST_DEVICES:
            raise Refused("TOTP_DEVICE_LIMIT")

    def verify_totp(self, account: Account, token: Token, device: Device, code: str) -> None:
        """VerifyTotp, right after AssociateTotp."""
        self.bearer(account, token, recent=False)
        self.current(token)
        self.spend(account, TOTP, token.session)
        step = self.matching_step(device, code)
        if step is None:
            raise Refused("CODE_MISMATCH")
        device.last_step = step
        account.devices.append(device)
        account.enabled.add(TOTP)
        account.recovered_by = None
        self.forget(account, TOTP, token.session)

    def generate_recovery_codes(self, account: Account, token: Token) -> None:
        """GenerateRecoveryCodes; the new ones are to be told."""
        self.bearer(account, token)
        account.recovery = set()
        self.open(account, RECOVERY)

    def update_preference(self, account: Account, token: Token, changes: dict[str, str]) -> None:
        """UpdateMfaPreference: all or nothing."""
        self.bearer(account, token)
        enabling = {kind for kind, change in changes.items() if change in ("ENABLED", "PREFERRED")}
        if not enabling <= self.kinds or sum(change == "PREFERRED" for change in changes.values()) > 1:
            raise Refused("INVALID_FIELDS")
        before = account.enrolled & self.kinds
        kept = (set(account.enabled), account.preferred)
        with all_or_nothing(account):
            for kind, change in changes.items():
                if change in ("ENABLED", "PREFERRED"):
                    account.enabled.add(kind)
                if change == "DISABLED":
                    account.enabled.discard(kind)
                if change == "PREFERRED":
                    account.preferred = kind
                if change in ("DISABLED", "NOT_PREFERRED") and account.preferred == kind:
                    account.preferred = None
            if not enabling <= account.enrolled:
                raise Refused("MFA_NOT_ENROLLED")
            if self.mode == REQUIRED and before and not account.enrolled & self.kinds:
                raise Refused("MFA_REQUIRED")
            if kept != (account.enabled, account.preferred):
                account.recovered_by = None

    def remove_device(self, account: Account, token: Token, device: Device) -> None:
        """RemoveTotpDevice; one that is not there is no error."""
        self.bearer(account, token)
        if device not in account.devices:
            return
        before = account.enrolled & self.kinds
        with all_or_nothing(account):
            account.devices.remove(device)
            if self.mode == REQUIRED and before and not account.enrolled & self.kinds:
                raise Refused("MFA_REQUIRED")
            account.recovered_by = None
            if not account.devices:
                # The next one is another: nothing was guessed at it.
                self.open(account, TOTP)

    def reauthenticate(self, account: Account, token: Token, kind: str, value: str) -> Token:
        """Reauthenticate: a further token of the session, the only one that stands for the fresh authentication."""
        self.bearer(account, token, recent=False)
        factor = {"password": PASSWORD, "totp_code": TOTP, "recovery_code": RECOVERY}[kind]
        if (factor == TOTP and not account.devices) or (factor == RECOVERY and not account.recovery):
            raise Refused("MFA_NOT_ENROLLED")
        self.spend(account, factor, token.session)
        if factor == PASSWORD and value != account.password:
            raise Refused("NOT_AUTHORIZED")
        if factor == RECOVERY:
            if value not in account.recovery:
                raise Refused("CODE_MISMATCH")
            account.recovery.remove(value)
            self.open(account, RECOVERY, TOTP, SMS, EMAIL)
        if factor == TOTP:
            self._use_totp_code(account, value, token.session)
        if factor != PASSWORD:
            account.recovered_by = None
        self.forget(account, factor, token.session)
        return self.prove(token.session)

    def sign_out(self, account: Account, token: Token, *, everywhere: bool) -> None:
        """SignOut."""
        self.bearer(account, token, recent=False)
        if everywhere:
            account.end_all()
        else:
            account.sessions.remove(token.session)

    def delete_own(self, account: Account, token: Token) -> None:
        """DeleteUser by the user."""
        self.bearer(account, token)
        self.delete(account)

    def delete(self, account: Account) -> None:
        """DeleteUser, by the user or an operator: the name is one that does not exist."""
        account.end_all()
        del self.accounts[account.username]
        account.failures.clear()
        account.sends.clear()
        account.resets, account.latest, account.former_resets = [], {}, {}
        account.home_until = account.recovered_until = LONG_AGO

    # Operators

    def verify_addresses(self, account: Account) -> None:
        """UpdateUserAttributes: an operator vouches for the address and the number."""
        account.email_verified, account.phone_verified = True, bool(account.phone)

    def create(self, username: str, password: str, *, email_verified: bool) -> Account:
        """CreateUser with a temporary password."""
        account = Account(
            username,
            password,
            status="FORCE_CHANGE_PASSWORD",
            password_ends=self.now + TEMPORARY_LIFE,
            email_verified=email_verified,
        )
        self.accounts[username] = account
        return account

    def set_password(self, account: Account, password: str, *, temporary: bool) -> None:
        """SetUserPassword."""
        account.password, account.recovered_by = password, None
        account.password_ends = self.now + TEMPORARY_LIFE if temporary else None
        account.status = "FORCE_CHANGE_PASSWORD" if temporary else "CONFIRMED"
        account.end_all()
        self.open(account, PASSWORD)

    def require_reset(self, account: Account) -> ResetCode | None:
        """ResetUserPassword: the code that is sent, None if none is."""
        if account.status not in ("CONFIRMED", "RESET_REQUIRED"):
            raise Refused("INVALID_FIELDS")
        account.status = "RESET_REQUIRED"
        account.end_all()
        medium = self.recovery_medium(account)
        if medium is None or account.is_disabled:
            return None
        reset = ResetCode(medium, self.now + RESET_LIFE)
        self._replace_reset(account, reset, is_known=False)
        return reset

    def reset_mfa(self, account: Account) -> None:
        """ResetUserMfa."""
        account.devices, account.enabled, account.preferred = [], {TOTP}, None
        account.recovery = set()
        account.end_all()
        self.open(account, *KINDS, RECOVERY)

    def enable(self, account: Account) -> None:
        """EnableUser."""
        account.is_disabled = False

    def disable(self, account: Account) -> None:
        """DisableUser."""
        account.is_disabled = True
        account.end_all()
