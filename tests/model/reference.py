"""A model of sign-in, written from the contract and not from the code: what calls have to answer, and what they change.

It knows no database, no hashes and no digests: an account is what its owner and its operator know of it. What only the
server knows, such as handles, secrets and codes, it is told after the call that made them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
OFF, OPTIONAL, REQUIRED = "OFF", "OPTIONAL", "REQUIRED"
TOTP, SMS, EMAIL, RECOVERY, PASSWORD, RESET_CODE = "TOTP", "SMS", "EMAIL", "RECOVERY_CODE", "PASSWORD", "RESET_CODE"
KINDS = (TOTP, SMS, EMAIL)

# The numbers of the contract.
CHALLENGE_LIFE = timedelta(minutes=3)
SETUP_LIFE = timedelta(minutes=15)
MOST_WRONG = 5
LOCK_FROM = 5
LONGEST_LOCK = timedelta(minutes=15)
CLOSED_AT = 100
# Closed until reset; codes that anybody can have sent are not, since that would close them for good.
CLOSABLE = {PASSWORD, TOTP, SMS, EMAIL, RECOVERY}
COOL_DOWN, HOUR = timedelta(seconds=30), timedelta(hours=1)
SENDS = {SMS: 10, EMAIL: 10, RESET_CODE: 5}
RESET_LIFE = timedelta(minutes=10)
# Everybody comes from one network, strange to an account that finished no sign-in there, nor recovered its password.
STRANGERS, HOME, RECOVERED = "strangers", "home", "recovered"
HOME_LIFE, RECOVERED_LIFE = timedelta(days=30), timedelta(hours=1)
TEMPORARY_LIFE, ACCESS_LIFE, RECENT = timedelta(days=7), timedelta(minutes=15), timedelta(minutes=10)
MOST_DEVICES, RECOVERY_CODES = 5, 10

DONE = "DONE"
CONFIRM_SIGN_UP = "CONFIRM_SIGN_UP"
RESET_PASSWORD = "RESET_PASSWORD"
NEW_PASSWORD = "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
SETUP_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
TOTP_SETUP = "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"
TOTP_CODE = "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
SMS_CODE = "CONFIRM_SIGN_IN_WITH_SMS_CODE"
EMAIL_CODE = "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"

CODE_STEPS = {TOTP: TOTP_CODE, SMS: SMS_CODE, EMAIL: EMAIL_CODE}
SETUP_STEPS = {TOTP: TOTP_SETUP, SMS: SMS_CODE, EMAIL: EMAIL_CODE}
SENT = {SMS_CODE: SMS, EMAIL_CODE: EMAIL}
ANSWERS = {
    NEW_PASSWORD: {"new_password"},
    SETUP_SELECTION: {"mfa_type"},
    TOTP_SETUP: {"totp_code"},
    SELECTION: {"mfa_type", "recovery_code"},
    TOTP_CODE: {"totp_code", "recovery_code"},
    SMS_CODE: {"sms_code", "recovery_code"},
    EMAIL_CODE: {"email_code", "recovery_code"},
}
ANSWER_KINDS = sorted(set().union(*ANSWERS.values()))


class Refused(Exception):
    """A call fails with a reason; `until` is when what refuses it ends."""

    def __init__(self, reason: str, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until


# Where guesses come from: one of the above, or a session.
Lane = object


@dataclass
class Failures:
    """Wrong tries at one factor in a row, and until when they lock it."""

    count: int = 0
    locked_until: datetime = LONG_AGO


class Named:
    """Have Hypothesis print what is drawn by its short name, and not field by field."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(eq=False, repr=False)
class Device:
    """An authenticator, and the last time step of it that was accepted."""

    secret: str
    last_step: int = 0
    device_id: str = ""


@dataclass(eq=False, repr=False)
class Challenge(Named):
    """A half-done sign-in. `codes` are those that were sent, the one that counts last."""

    step: str
    expires_at: datetime
    sent_at: datetime
    lane: Lane = STRANGERS
    wrong: int = 0
    handle: str = ""
    pending: Device | None = None
    codes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"{self.step} {self.handle[:6]}"


@dataclass(eq=False)
class Session:
    """A finished sign-in, when its user was last proved, and how often after the sign-in."""

    auth_time: datetime
    proofs: int = 0


@dataclass(eq=False, repr=False)
class Token(Named):
    """An access token of a session, and what it stands for: the session as it was when the token was issued."""

    session: Session
    issued_at: datetime
    access_token: str = ""
    auth_time: datetime = field(init=False)
    proofs: int = field(init=False)

    def __post_init__(self) -> None:
        # A JWT knows whole seconds alone.
        self.auth_time, self.proofs = self.session.auth_time.replace(microsecond=0), self.session.proofs

    def __repr__(self) -> str:
        return f"token of {self.issued_at:%H:%M:%S}"

    @property
    def ends(self) -> datetime:
        """Return when it ends, in whole seconds too."""
        return self.issued_at.replace(microsecond=0) + ACCESS_LIFE


@dataclass(eq=False, repr=False)
class ResetCode(Named):
    """The code of a reset: empty if it was sent to nobody; without a handle if an operator asked."""

    medium: str
    expires_at: datetime
    code: str = ""
    handle: str = ""
    wrong: int = 0
    wrong_without: int = 0

    def __repr__(self) -> str:
        return f"reset {self.handle[:6]}"


@dataclass(eq=False, repr=False)
class Account(Named):
    """What its owner and its operator know of an account."""

    username: str
    password: str
    status: str = "UNCONFIRMED"
    is_disabled: bool = False
    password_ends: datetime | None = None
    recovered_by: str | None = None
    email_verified: bool = False
    phone: str | None = None
    phone_verified: bool = False
    devices: list[Device] = field(default_factory=list)
    enabled: set[str] = field(default_factory=lambda: {TOTP})
    preferred: str | None = None
    recovery: set[str] = field(default_factory=set)
    challenges: list[Challenge] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    # Resets that were asked for; for who shows no handle the latest from strange or known networks, and former codes.
    resets: list[ResetCode] = field(default_factory=list)
    latest: dict[bool, ResetCode] = field(default_factory=dict)
    former_resets: dict[bool, list[str]] = field(default_factory=dict)
    failures: dict[tuple[str, Lane], Failures] = field(default_factory=dict)
    home_until: datetime = LONG_AGO
    recovered_until: datetime = LONG_AGO
    # Codes sent within the hour that began with the first of them; neither is given back by what fails afterwards.
    sends: dict[tuple[str, Lane], tuple[datetime, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.username

    @property
    def enrolled(self) -> set[str]:
        """Return the kinds that are enabled and can be proved."""
        has = {TOTP: bool(self.devices), SMS: bool(self.phone) and self.phone_verified, EMAIL: self.email_verified}
        return {kind for kind in self.enabled if has[kind]}

    def end_all(self, *, but: Session | None = None) -> None:
        """End sessions and half-done sign-ins."""
        self.sessions = [session for session in self.sessions if session is but]
        self.challenges = []


@dataclass(frozen=True)
class Next:
    """What a sign-in waits for: `challenge` is to be told its handle, and what was sent or shown; `token` its text."""

    step: str
    allowed: frozenset[str] = frozenset()
    challenge: Challenge | None = None
    token: Token | None = None


class Rules:
    """What holds for every call: settings, time, limits and the choice of the next step."""

    def __init__(self, mode: str, kinds: frozenset[str], now: datetime) -> None:
        self.mode = mode
        self.kinds = kinds
        self.now = now

    def lane(self, account: Account) -> Lane:
        """Return where calls about an account come from."""
        if account.home_until > self.now:
            return HOME
        return RECOVERED if account.recovered_until > self.now else STRANGERS

    def spend(self, account: Account, factor: str, lane: Lane) -> None:
        """Count a try before it is looked at; a right one has it forgotten."""
        failures = account.failures.setdefault((factor, lane), Failures())
        if factor in CLOSABLE and failures.count >= CLOSED_AT:
            raise Refused("LIMIT_EXCEEDED")
        if failures.locked_until > self.now:
            raise Refused("LIMIT_EXCEEDED", failures.locked_until)
        failures.count += 1
        if failures.count >= LOCK_FROM:
            lock = (
                LONGEST_LOCK
                if failures.count > LOCK_FROM + 10
                else timedelta(seconds=2 ** (failures.count - LOCK_FROM))
            )
            failures.locked_until = self.now + min(lock, LONGEST_LOCK)

    def forget(self, account: Account, factor: str, lane: Lane) -> None:
        """Forget the wrong tries at a factor in a lane."""
        account.failures.pop((factor, lane), None)

    def open(self, account: Account, *factors: str) -> None:
        """Forget the wrong tries at factors in all lanes."""
        account.failures = {key: failures for key, failures in account.failures.items() if key[0] not in factors}

    def spend_send(self, account: Account, what: str, lane: Lane) -> None:
        """Count a code that is sent."""
        begun, count = account.sends.get((what, lane), (self.now, 0))
        if self.now >= begun + HOUR:
            begun, count = self.now, 0
        if count >= SENDS[what]:
            raise Refused("LIMIT_EXCEEDED", begun + HOUR)
        account.sends[what, lane] = (begun, count + 1)

    def advance(self, account: Account, lane: Lane, *, second: bool, chosen: str | None = None) -> Next:
        """Choose the next step by how the account stands, and begin it."""
        # A recovered password makes nobody known to the factors beside it.
        lane = STRANGERS if lane == RECOVERED else lane
        step, allowed = self.next_step(account, second=second, chosen=chosen)
        if step == DONE:
            if second:
                account.recovered_by = None
            session = Session(self.now)
            account.home_until = self.now + HOME_LIFE
            account.sessions.append(session)
            return Next(step, token=Token(session, self.now))
        if step not in ANSWERS:
            return Next(step)
        if step in SENT:
            self.spend_send(account, SENT[step], lane)
        life = SETUP_LIFE if step in (SETUP_SELECTION, TOTP_SETUP) else CHALLENGE_LIFE
        challenge = Challenge(step, self.now + life, self.now, lane)
        account.challenges.append(challenge)
        return Next(step, frozenset(allowed), challenge)

    def next_step(self, account: Account, *, second: bool, chosen: str | None) -> tuple[str, set[str]]:
        """Choose among the steps; with a selection, say among what."""
        by_status = {
            "UNCONFIRMED": CONFIRM_SIGN_UP,
            "RESET_REQUIRED": RESET_PASSWORD,
            "FORCE_CHANGE_PASSWORD": NEW_PASSWORD,
        }
        if account.status in by_status:
            return by_status[account.status], set()
        if self.mode == OFF or second:
            return DONE, set()
        asked = account.enrolled & self.kinds
        if asked:
            # A code never counts beside a password that a code over the same medium has set.
            counting = asked - {account.recovered_by}
            if not counting:
                return RESET_PASSWORD, set()
            wanted = chosen if chosen in counting else account.preferred
            if len(counting) > 1 and wanted not in counting:
                return SELECTION, counting
            return CODE_STEPS[wanted if wanted in counting else counting.pop()], set()
        if self.mode == OPTIONAL:
            return DONE, set()
        possible = self.settable(account)
        if not possible:
            raise Refused("MFA_NOT_ENROLLED")
        if len(possible) > 1 and chosen not in possible:
            return SETUP_SELECTION, possible
        return SETUP_STEPS[chosen if chosen in possible else possible.pop()], set()

    def settable(self, account: Account) -> set[str]:
        """Return what a sign-in can set up: for the number and the address that the account has."""
        possible = {TOTP, EMAIL} | ({SMS} if account.phone else set())
        return (possible & self.kinds) - {account.recovered_by}

    def may_set_up(self, account: Account) -> bool:
        """Tell whether a password alone may set up a factor, as a sign-in was asked to: not beside another."""
        return not account.enrolled & self.kinds

    def matching_step(self, device: Device, code: str) -> int | None:
        """Return the time step of a code that an authenticator shows now, or one step around."""
        present = int(self.now.timestamp()) // 30
        steps = (present, present - 1, present + 1)
        return next((step for step in steps if pyotp.TOTP(device.secret).at(step * 30) == code), None)


@contextmanager
def all_or_nothing(account: Account) -> Iterator[None]:
    """Undo what a refused call has changed; codes that it sent, and tries that were counted before, stay counted."""
    before = copy.copy(account)
    # The very sessions and challenges, which others hold, and not copies of them.
    for name in ("devices", "challenges", "sessions"):
        setattr(before, name, list(getattr(account, name)))
    before.enabled, before.recovery = set(account.enabled), set(account.recovery)
    before.failures = {factor: copy.copy(failures) for factor, failures in account.failures.items()}
    try:
        yield
    except Refused:
        sends = account.sends
        account.__dict__.update(before.__dict__)
        account.sends = sends
        raise
