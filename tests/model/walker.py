"""What a step of a walk does: call the server and the model alike, and compare what they say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pyotp
from hypothesis import note
from hypothesis import strategies as st

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import NOON
from tests.model.driver import Driver
from tests.model.flows import Model
from tests.model.reference import (
    ANSWER_KINDS,
    ANSWERS,
    COOL_DOWN,
    EMAIL,
    HOUR,
    KINDS,
    OFF,
    OPTIONAL,
    RECENT,
    REQUIRED,
    SENT,
    Account,
    Challenge,
    Device,
    Next,
    Refused,
    ResetCode,
    Token,
)
from tests.rpc.calls import step_of
from tests.service import Failure

_T = TypeVar("_T")
STEP_SECONDS = 30
WRONG_PASSWORD = "never-the-right-password"
WRONG_RECOVERY_CODE = "aaaa-bbbb-cccc-dddd"
WRONG_CODE = "000000"
# Strong under every rule, and never the same.
# In letters: the number of a walker, from 1000 on, is a word of their name that no password may have.
_LETTERS = str.maketrans("0123456789", "bcdfghjklm")
_passwords = (f"marble-{number}-harbour-violin".translate(_LETTERS) for number in itertools.count())
_names = (f"walker-{number}" for number in itertools.count())
_phones = (f"+49170{number}" for number in itertools.count(1_000_000))


class Walker:
    """Hold the server, the model and what a stranger could remember: every handle and token that ever was."""

    driver: ClassVar[Driver]
    # The kinds that the settings of a walk may allow.
    kinds: ClassVar[tuple[str, ...]] = KINDS
    # How often each outcome was seen, to show that walks get everywhere.
    seen: ClassVar[dict[str, int]] = {}

    def reset(self, mode: str, kinds: frozenset[str]) -> None:
        """Start the server for a new walk."""
        # Walks begin at the same second of an hour, so that the same draws take the same turns.
        self.driver.advance(HOUR - (self.driver.now - NOON) % HOUR)
        self.driver.start(mode, kinds)
        self.model = Model(mode, kinds, self.driver.now)
        self.people: list[Account] = []
        self.challenges: list[tuple[Account, Challenge]] = []
        self.tokens: list[tuple[Account, Token]] = []
        self.resets: list[tuple[Account, ResetCode]] = []
        self.used_recovery_codes: list[str] = []
        self.sign_up_codes: dict[str, str] = {}

    def expect(self, call: Callable[[], _T]) -> _T | Refused:
        """Return what the model answers, or why it refuses."""
        try:
            return call()
        except Refused as refused:
            return refused

    def same(self, expected: object, given: Any) -> None:
        """Compare what the model and the server say."""
        name = expected.reason if isinstance(expected, Refused) else getattr(expected, "step", "success")
        self.seen[name] = self.seen.get(name, 0) + 1
        # Told with the walk that fails.
        note(f"  {self.model.now:%H:%M:%S.%f} {name}")
        if not isinstance(expected, Refused):
            assert not isinstance(given, Failure), f"{given.reason} instead of {expected}"
            return
        assert isinstance(given, Failure), f"no {expected.reason}, but {given}"
        assert given.reason == expected.reason
        if expected.until is not None:
            assert given.retry_after is not None
            # Never earlier than the real unlock, and not much later.
            wait = expected.until - self.model.now
            assert wait <= given.retry_after <= wait + timedelta(seconds=1)

    def same_step(self, account: Account, expected: Next | Refused, given: Any, before: int) -> None:
        """Compare a step of a sign-in, and tell the model what only the server knows."""
        self.same(expected, given)
        if isinstance(expected, Refused):
            return
        allowed = {MfaType.Name(kind).removeprefix("MFA_TYPE_") for kind in given.next_step.allowed_mfa_types}
        assert (step_of(given), frozenset(allowed)) == (expected.step, expected.allowed)
        assert bool(given.session) == (expected.challenge is not None)
        if expected.token is not None:
            self.keep(account, expected.token, given.tokens)
        challenge = expected.challenge
        if challenge is None:
            return
        challenge.handle = given.session
        if given.next_step.HasField("totp_setup"):
            challenge.pending = Device(given.next_step.totp_setup.shared_secret)
        if challenge.step in SENT:
            challenge.codes.append(self.driver.code(address_of(account, SENT[challenge.step]), after=before))
        self.challenges.append((account, challenge))

    def keep(self, account: Account, token: Token, given: Tokens) -> None:
        """Tell the model a token, and remember it."""
        assert given.access_token_expires_at.ToDatetime(UTC) == token.ends
        token.access_token = given.access_token
        self.tokens.append((account, token))

    def sign_in_as(self, account: Account, password: str) -> Next | Refused:
        """Start a sign-in."""
        before = self.driver.last_message()
        expected = self.expect(lambda: self.model.sign_in(account, password))
        given = self.driver.call("SignIn", pb.SignInRequest(username=account.username, password=password))
        self.same_step(account, expected, given, before)
        return expected

    def give(self, account: Account, challenge: Challenge, kind: str, value: str) -> Next | Refused:
        """Answer a step."""
        before = self.driver.last_message()
        expected = self.expect(lambda: self.model.answer(challenge.handle, kind, value))
        on_the_wire = MfaType.Value(f"MFA_TYPE_{value}") if kind == "mfa_type" else value
        given = self.driver.answer(challenge.handle, kind, on_the_wire)
        self.same_step(account, expected, given, before)
        if kind == "recovery_code" and not isinstance(expected, Refused):
            self.used_recovery_codes.append(value)
        return expected

    def some_answer(self, data: st.DataObject, account: Account, challenge: Challenge) -> tuple[str, str]:
        """Draw an answer: one that the step waits for, more often than not, and a right one among others."""
        fitting = sorted(ANSWERS[challenge.step])
        kind = data.draw(st.sampled_from([*fitting * 6, *ANSWER_KINDS]), label="kind")
        return kind, data.draw(st.sampled_from(self._values(account, challenge, kind)), label="value")

    def right_answer(self, data: st.DataObject, account: Account, challenge: Challenge) -> tuple[str, str]:
        """Draw an answer that is right, if there is any."""
        kind = data.draw(st.sampled_from(sorted(ANSWERS[challenge.step])), label="kind")
        if kind == "recovery_code" and not account.recovery:
            kind = next(each for each in sorted(ANSWERS[challenge.step]) if each != kind)
        values = self._values(account, challenge, kind)
        return kind, values[0] if kind != "mfa_type" else data.draw(st.sampled_from(values), label="value")

    def _values(self, account: Account, challenge: Challenge, kind: str) -> list[str]:
        """Return what could be answered; the first is right, if anything is."""
        match kind:
            case "totp_code":
                own = [challenge.pending] if challenge.pending else account.devices
                shown = [self.totp(device, steps) for device in own for steps in (0, 1, -1)]
                foreign = [self.totp(device, 0) for each in self.people for device in each.devices]
                return [*shown, *foreign, WRONG_CODE]
            case "sms_code" | "email_code":
                others = [code for _, each in self.challenges for code in each.codes]
                return [*reversed(challenge.codes), *others[-3:], WRONG_CODE]
            case "recovery_code":
                others = [code for each in self.people for code in sorted(each.recovery)[:1]]
                used = self.used_recovery_codes[-2:]
                return [*sorted(account.recovery)[:1], *others, *used, WRONG_RECOVERY_CODE]
            case "mfa_type":
                return list(KINDS)
            case _:
                return [next(_passwords), account.password]

    def read_reset(self, account: Account, reset: ResetCode | Refused | None, before: int) -> None:
        """Tell the model the code of a reset, if one is sent."""
        if isinstance(reset, ResetCode):
            reset.code = self.driver.code(address_of(account, reset.medium), after=before)

    def confirm_sign_up(self, account: Account) -> None:
        """Confirm a sign-up."""
        request = pb.ConfirmSignUpRequest(
            username=account.username, confirmation_code=self.sign_up_codes[account.username]
        )
        self.same(None, self.driver.call("ConfirmSignUp", request))
        account.status, account.email_verified = "CONFIRMED", True

    def move(self, duration: timedelta) -> None:
        """Let time go by."""
        self.driver.advance(duration)
        self.model.now = self.driver.now

    def deadlines(self) -> list[datetime]:
        """Return when something ends that is still to come."""
        times: list[datetime] = []
        for account in self.people:
            times += [failures.locked_until for failures in account.failures.values()]
            times += [begun + HOUR for begun, _ in account.sends.values()]
            times += [reset.expires_at for reset in account.resets]
            times += [account.recovered_until]
            for challenge in account.challenges:
                times += [challenge.expires_at, *([challenge.sent_at + COOL_DOWN] if challenge.codes else [])]
        live = [token for account, token in self.tokens if token.session in account.sessions]
        times += [time for token in live for time in (token.auth_time + RECENT, token.ends)]
        return sorted({time for time in times if time > self.model.now})

    def totp(self, device: Device, steps: int) -> str:
        """Return what an authenticator shows, some time steps from now."""
        return pyotp.TOTP(device.secret).at(int(self.model.now.timestamp()) + steps * STEP_SECONDS)

    def new_name(self) -> str:
        """Return a name that nobody has."""
        return next(_names)

    def new_phone(self) -> str:
        """Return a mobile number that nobody has."""
        return next(_phones)

    def new_password(self) -> str:
        """Return a password that nobody had."""
        return next(_passwords)


def some_settings(data: st.DataObject, kinds: Sequence[str]) -> tuple[str, frozenset[str]]:
    """Draw settings that the server takes."""
    mode = data.draw(st.sampled_from([REQUIRED, REQUIRED, OPTIONAL, OFF]), label="mfa")
    allowed = frozenset(data.draw(st.sets(st.sampled_from(kinds), min_size=1), label="mfa_types"))
    # E-mail alone is refused where MFA is required: nobody could recover a password.
    return (mode, allowed) if mode != REQUIRED or allowed != {EMAIL} else (OPTIONAL, allowed)


def address_of(account: Account, medium: str = EMAIL) -> str:
    """Return where an account's messages go."""
    if medium == EMAIL:
        return f"{account.username}@example.com"
    assert account.phone is not None
    return account.phone


def attributes_of(account: Account) -> dict[str, str]:
    """Return the attributes that an account is made with."""
    return {"email": address_of(account)} | ({"phone_number": account.phone} if account.phone else {})
