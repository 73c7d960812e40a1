"""The model's sign-ins and passwords: each call returns what it has to answer, or raises `Refused`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.model.reference import (
    ANSWERS,
    COOL_DOWN,
    EMAIL,
    HOME,
    MOST_WRONG,
    OFF,
    PASSWORD,
    RECOVERED_LIFE,
    RECOVERY,
    REQUIRED,
    RESET_CODE,
    RESET_LIFE,
    SENT,
    SMS,
    STRANGERS,
    TOTP,
    Account,
    Challenge,
    Lane,
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
        lane = self.lane(account)
        self.spend(account, PASSWORD, lane)
        is_over = account.password_ends is not None and account.password_ends <= self.now
        if account.username not in self.accounts or password != account.password or is_over:
            raise Refused("NOT_AUTHORIZED")
        self.forget(account, PASSWORD, lane)
        if account.is_disabled:
            raise Refused("USER_DISABLED")
        with all_or_nothing(account):
            return self.advance(account, lane, second=False)

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
            self.spend(account, factor, challenge.lane)
            challenge.wrong += 1
        with all_or_nothing(account):
            second, chosen = answers[kind](account, challenge, value)
            account.challenges = [each for each in account.challenges if each is not challenge]
            return self.advance(account, challenge.lane, second=second, chosen=chosen)

    def resend(self, handle: str) -> Challenge:
        """ResendSignInCode."""
        account, challenge = self.find(handle)
        if challenge.step not in SENT:
            raise Refused("SESSION_EXPIRED")
        if self.now < challenge.sent_at + COOL_DOWN:
            raise Refused("LIMIT_EXCEEDED", challenge.sent_at + COOL_DOWN)
        self.spend_send(account, SENT[challenge.step], challenge.lane)
        challenge.sent_at = self.now
        return challenge

    def _totp_code(self, account: Account, challenge: Challenge, code: str) -> tuple[bool, None]:
        if challenge.pending is None:
            self._use_totp_code(account, code, challenge.lane)
            return True, None
        step = self.matching_step(challenge.pending, code)
        if step is None:
            raise Refused("CODE_MISMATCH")
        if not self.may_set_up(account):
            raise Refused("SESSION_EXPIRED")
        challenge.pending.last_step = step
        account.devices.append(challenge.pending)
        account.enabled.add(TOTP)
        self.forget(account, TOTP, challenge.lane)
        return True, None

    def _use_totp_code(self, account: Account, code: str, lane: Lane) -> None:
        matches = [(each, step) for each in account.devices if (step := self.matching_step(each, code)) is not None]
        if not matches:
            raise Refused("CODE_MISMATCH")
        device, step = matches[0]
        if step <= device.last_step:
            raise Refused("CODE_ALREADY_USED")
        device.last_step = step
        self.forget(account, TOTP, lane)

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
        self.forget(account, kind, challenge.lane)
        return True, None

    def _recovery_code(self, account: Account, challenge: Challenge, code: str) -> tuple[bool, None]:
        if code not in account.recovery:
            raise Refused("CODE_MISMATCH")
        account.recovery.remove(code)
        self.open(account, RECOVERY, TOTP, SMS, EMAIL)
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

    def reset_password(self, account: Account) -> ResetCode:
        """ResetPassword: the code that is made; answered alike for every name."""
        lane = self.lane(account)
        self.spend_send(account, RESET_CODE, lane)
        asked = ResetCode(self.recovery_medium(account) or EMAIL, self.now + RESET_LIFE)
        account.resets.append(asked)
        self._replace_reset(account, asked, is_known=lane != STRANGERS)
        return asked

    def is_sent(self, account: Account) -> bool:
        """Tell whether there is anywhere to send the code of a reset to."""
        has_address = self.recovery_medium(account) is not None
        return has_address and account.username in self.accounts and not account.is_disabled

    def recovery_medium(self, account: Account) -> str | None:
        """Return over what a password is recovered: not over all that there is to prove beside it."""
        verified = {EMAIL: account.email_verified, SMS: bool(account.phone) and account.phone_verified}
        asked = set() if self.mode == OFF else account.enrolled & self.kinds
        return next((each for each, is_verified in verified.items() if is_verified and asked != {each}), None)

    def _replace_reset(self, account: Account, new: ResetCode, *, is_known: bool) -> None:
        former = account.latest.get(is_known)
        # How long the codes of one that has expired are remembered is not promised.
        keeps = former is not None and former.expires_at > self.now
        codes = account.former_resets.get(is_known, [])
        account.former_resets[is_known] = [*codes, former.code] if former is not None and keeps else []
        self.open(account, RESET_CODE)
        account.latest[is_known] = new

    def confirm_reset(self, account: Account, code: str, password: str, asked: ResetCode | None = None) -> None:
        """ConfirmResetPassword, with the handle of a reset that was asked for, or without one."""
        medium = self._with_handle(account, asked, code) if asked else self._without_handle(account, code)
        account.resets, account.latest, account.former_resets = [], {}, {}
        account.password, account.password_ends, account.recovered_by = password, None, medium
        if account.status == "RESET_REQUIRED":
            account.status = "CONFIRMED"
        account.end_all()
        self.open(account, RESET_CODE, PASSWORD)
        if self.lane(account) != HOME:
            account.recovered_until = self.now + RECOVERED_LIFE

    def _with_handle(self, account: Account, asked: ResetCode, code: str) -> str:
        if asked not in account.resets or asked.expires_at <= self.now or asked.wrong >= MOST_WRONG:
            raise Refused("CODE_EXPIRED")
        asked.wrong += 1
        if code != asked.code:
            raise Refused("CODE_MISMATCH")
        return asked.medium

    def _without_handle(self, account: Account, code: str) -> str:
        lane = self.lane(account)
        self.spend(account, RESET_CODE, lane)
        is_known = lane != STRANGERS
        own, other = account.latest.get(is_known), account.latest.get(not is_known)
        reason = self._try_latest(own, code, account.former_resets.get(is_known, []))
        if reason is None and own is not None:
            return own.medium
        # Whoever has moved since.
        if other and other.code == code and other.expires_at > self.now and other.wrong_without < MOST_WRONG:
            return other.medium
        raise Refused(reason or "CODE_EXPIRED")

    def _try_latest(self, reset: ResetCode | None, code: str, former: list[str]) -> str | None:
        if reset is None or reset.expires_at <= self.now or reset.wrong_without >= MOST_WRONG:
            return "CODE_EXPIRED"
        reset.wrong_without += 1
        if code == reset.code:
            return None
        return "CODE_EXPIRED" if code in former else "CODE_MISMATCH"
