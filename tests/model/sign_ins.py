"""The model's sign-ins and passwords: each call returns what it has to answer, or raises `Refused`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.model.reference import (
    ANSWERS,
    COOL_DOWN,
    EMAIL,
    MOST_WRONG,
    OFF,
    PASSWORD,
    RECOVERY,
    REQUIRED,
    RESET_CODE,
    RESET_LIFE,
    SENT,
    SMS,
    TOTP,
    Account,
    Challenge,
    Next,
    Refused,
    ResetCode,
    Rules,
    all_or_nothing,
)


class SignIns(Rules):
    """Answer the calls of people who are not signed in."""

    def __init__(self, mode: str, kinds: frozenset[str], now: datetime) -> None:
        super().__init__(mode, kinds, now)
        self.accounts: dict[str, Account] = {}

    # Sign-in

    def sign_in(self, account: Account, password: str) -> Next:
        """SignIn. The account may be one that is gone."""
        self.spend(account, PASSWORD)
        is_over = account.password_ends is not None and account.password_ends <= self.now
        if account.username not in self.accounts or password != account.password or is_over:
            raise Refused("NOT_AUTHORIZED")
        self.forget(account, PASSWORD)
        if account.is_disabled:
            raise Refused("USER_DISABLED")
        with all_or_nothing(account):
            return self.advance(account, second=False)

    def find(self, handle: str) -> tuple[Account, Challenge]:
        """Return the live challenge of a handle."""
        for account in self.accounts.values():
            for challenge in account.challenges:
                if challenge.handle == handle and challenge.expires_at > self.now and challenge.wrong < MOST_WRONG:
                    return account, challenge
        raise Refused("SESSION_EXPIRED")

    def answer(self, handle: str, kind: str, value: str) -> Next:
        """ConfirmSignIn."""
        account, challenge = self.find(handle)
        if kind not in ANSWERS[challenge.step]:
            raise Refused("INVALID_FIELDS")
        answers: dict[str, Callable[[Account, Challenge, str], tuple[bool, str | None]]] = {
            "totp_code": self._totp_code,
            "sms_code": self._sent_code,
            "email_code": self._sent_code,
            "recovery_code": self._recovery_code,
            "mfa_type": self._choice,
            "new_password": self._new_password,
        }
        if kind in ("totp_code", "sms_code", "email_code", "recovery_code"):
            factor = {"totp_code": TOTP, "recovery_code": RECOVERY}.get(kind) or SENT[challenge.step]
            # While the factor is locked, the session's answers are not used up either.
            self.spend(account, factor)
            challenge.wrong += 1
        with all_or_nothing(account):
            second, chosen = answers[kind](account, challenge, value)
            account.challenges = [each for each in account.challenges if each is not challenge]
            return self.advance(account, second=second, chosen=chosen)

    def resend(self, handle: str) -> Challenge:
        """ResendSignInCode."""
        account, challenge = self.find(handle)
        if challenge.step not in SENT:
            raise Refused("SESSION_EXPIRED")
        if self.now < challenge.sent_at + COOL_DOWN:
            raise Refused("LIMIT_EXCEEDED", challenge.sent_at + COOL_DOWN)
        self.spend_send(account, SENT[challenge.step])
        challenge.sent_at = self.now
        return challenge

    def _totp_code(self, account: Account, challenge: Challenge, code: str) -> tuple[bool, None]:
        if challenge.pending is None:
            self._use_totp_code(account, code)
            return True, None
        step = self.matching_step(challenge.pending, code)
        if step is None:
            raise Refused("CODE_MISMATCH")
        if not self.may_set_up(account):
            raise Refused("SESSION_EXPIRED")
        challenge.pending.last_step = step
        account.devices.append(challenge.pending)
        account.enabled.add(TOTP)
        self.forget(account, TOTP)
        return True, None

    def _use_totp_code(self, account: Account, code: str) -> None:
        matches = [(each, step) for each in account.devices if (step := self.matching_step(each, code)) is not None]
        if not matches:
            raise Refused("CODE_MISMATCH")
        device, step = matches[0]
        if step <= device.last_step:
            raise Refused("CODE_ALREADY_USED")
        device.last_step = step
        self.forget(account, TOTP)

    def _sent_code(self, account: Account, challenge: Challenge, code: str) -> tuple[bool, None]:
        kind = SENT[challenge.step]
        if code != challenge.codes[-1]:
            raise Refused("CODE_EXPIRED" if code in challenge.codes else "CODE_MISMATCH")
        if kind not in account.enrolled:
            # Where none is required, it was asked for and disabled since.
            if self.mode != REQUIRED or not self.may_set_up(account):
                raise Refused("SESSION_EXPIRED")
            account.enabled.add(kind)
            account.phone_verified |= kind == SMS
            account.email_verified |= kind == EMAIL
        self.forget(account, kind)
        return True, None

    def _recovery_code(self, account: Account, challenge: Challenge, code: str) -> tuple[bool, None]:
        if code not in account.recovery:
            raise Refused("CODE_MISMATCH")
        account.recovery.remove(code)
        self.forget(account, RECOVERY, TOTP, SMS, EMAIL)
        return True, None

    def _choice(self, account: Account, challenge: Challenge, kind: str) -> tuple[bool, str]:
        if "SETUP" in challenge.step:
            if not self.may_set_up(account):
                raise Refused("SESSION_EXPIRED")
            kinds = self.settable(account)
        else:
            kinds = (account.enrolled & self.kinds) - {account.recovered_by}
        if kind not in kinds:
            raise Refused("INVALID_FIELDS")
        return False, kind

    def _new_password(self, account: Account, challenge: Challenge, password: str) -> tuple[bool, None]:
        if password == account.password:
            raise Refused("INVALID_PASSWORD")
        if account.password_ends is not None and account.password_ends <= self.now:
            raise Refused("SESSION_EXPIRED")
        # How the temporary one was come by stays as it is.
        account.password, account.password_ends = password, None
        account.status = "CONFIRMED"
        account.challenges = []
        return False, None

    # Passwords

    def reset_password(self, account: Account) -> ResetCode | None:
        """ResetPassword: the code that is sent, None if none is. Answered alike for every name."""
        self.spend_send(account, RESET_CODE)
        medium = self.recovery_medium(account)
        is_sent = medium is not None and account.username in self.accounts and not account.is_disabled
        self._replace_reset(account, ResetCode(medium or EMAIL, self.now + RESET_LIFE))
        return account.reset if is_sent else None

    def recovery_medium(self, account: Account) -> str | None:
        """Return over what a password is recovered: not over all that there is to prove beside it."""
        verified = {EMAIL: account.email_verified, SMS: bool(account.phone) and account.phone_verified}
        asked = set() if self.mode == OFF else account.enrolled & self.kinds
        return next((each for each, is_verified in verified.items() if is_verified and asked != {each}), None)

    def _replace_reset(self, account: Account, new: ResetCode) -> None:
        former = account.reset
        # How long the codes of one that has expired are remembered is not promised.
        keeps = former is not None and former.expires_at > self.now
        account.former_resets = [*account.former_resets, former.code] if former is not None and keeps else []
        self.forget(account, RESET_CODE)
        account.reset = new

    def confirm_reset(self, account: Account, code: str, password: str) -> None:
        """ConfirmResetPassword."""
        self.spend(account, RESET_CODE)
        reset = account.reset
        if reset is None or reset.expires_at <= self.now or reset.wrong >= MOST_WRONG:
            raise Refused("CODE_EXPIRED")
        if code != reset.code:
            reset.wrong += 1
            raise Refused("CODE_EXPIRED" if code in account.former_resets else "CODE_MISMATCH")
        account.reset, account.former_resets = None, []
        account.password, account.password_ends, account.recovered_by = password, None, reset.medium
        if account.status == "RESET_REQUIRED":
            account.status = "CONFIRMED"
        account.end_all()
        self.forget(account, RESET_CODE, PASSWORD)
