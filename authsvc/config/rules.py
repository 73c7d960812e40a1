"""Settings of the rules: accounts, passwords, codes, sign-ins, tokens, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from authsvc.config.types import (
    CustomAttributes,
    Duration,
    MfaMode,
    MfaTypes,
    Names,
    OptionalPath,
    Section,
    days,
    hours,
    minutes,
    seconds,
)
from authsvc.domain import FactorKind

_CUSTOM_NAME = re.compile(r"custom:[A-Za-z0-9_.-]{1,64}")


class AccountsSettings(Section):
    """Accounts and second factors."""

    confirm_sign_up: bool = Field(True, description="Whether a code by mail must confirm a new account.")
    sign_in_by_email: bool = Field(
        False,
        description="Whether a verified e-mail address serves in place of the username, and usernames may be such.",
    )
    prevent_user_existence_errors: bool = Field(True, description="Whether SignIn hides that a name does not exist.")
    unconfirmed_purge: Duration = Field(
        days(7), ge=days(1), le=days(365), description="Age at which an unconfirmed account is removed."
    )
    mfa: MfaMode = Field(MfaMode.REQUIRED, description="`OFF`, `OPTIONAL` (asked of those who enrolled) or `REQUIRED`.")
    mfa_types: MfaTypes = Field(
        (FactorKind.TOTP,),
        min_length=1,
        description="Second factors that may be used: `TOTP`, `SMS`, `EMAIL`; comma-separated.",
    )
    required_attributes: Names = Field(
        (),
        description="Attributes that every account must have; comma-separated. `email` is needed where sign-up "
        "is confirmed.",
    )
    temporary_password_ttl: Duration = Field(
        days(7),
        ge=hours(1),
        le=days(365),
        description="Life of the temporary password of an account that an operator made.",
    )
    totp_issuer: str = Field(
        "authsvc", min_length=1, max_length=64, pattern=r"^[^:]+$", description="Name shown in authenticator apps."
    )
    totp_device_limit: int = Field(5, ge=1, le=20, description="Most active authenticators of one account.")

    def broken_rules(self) -> Iterator[str]:
        """Yield by what nobody could sign in, or could who should not."""
        if self.mfa is MfaMode.REQUIRED and set(self.mfa_types) == {FactorKind.EMAIL}:
            yield (
                "accounts.mfa_types has EMAIL alone: where MFA is REQUIRED there must be another, since passwords are "
                "recovered by e-mail too"
            )
        if self.sign_in_by_email and not self.confirm_sign_up:
            yield (
                "accounts.sign_in_by_email needs accounts.confirm_sign_up: an address that was never verified signs "
                "nobody in"
            )


class PasswordsSettings(Section):
    """Password policy (NIST SP 800-63B §3.1.1) and hashing (OWASP Password Storage)."""

    min_length_with_mfa: int = Field(8, ge=8, le=128, description="Fewest characters where MFA is required.")
    min_length: int = Field(15, ge=8, le=128, description="Fewest characters elsewhere.")
    max_length: int = Field(256, ge=64, le=1024, description="Most characters.")
    blocklist_file: OptionalPath = Field(
        None, description="Further refused passwords, one a line, beside the built-in list."
    )
    require_lowercase: bool = Field(False, description="Whether a lower-case letter is needed.")
    require_uppercase: bool = Field(False, description="Whether an upper-case letter is needed.")
    require_numbers: bool = Field(False, description="Whether a digit is needed.")
    require_symbols: bool = Field(False, description="Whether a character that is neither letter nor digit is needed.")
    argon2_time_cost: int = Field(2, ge=1, le=32, description="Argon2id passes.")
    argon2_memory_kib: int = Field(19_456, ge=8, le=1_048_576, description="Argon2id memory of one hash, KiB.")
    argon2_parallelism: int = Field(1, ge=1, le=16, description="Argon2id lanes.")
    hash_threads: int = Field(
        0, ge=0, le=256, description="Hashes at once in one worker process; 0 means one for each core."
    )
    hash_queue: int = Field(
        64, ge=1, le=10_000, description="Hashes that may wait in one worker process; one more is OVERLOADED."
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the lengths."""
        if self.max_length < max(self.min_length, self.min_length_with_mfa):
            yield "passwords.max_length must not be below passwords.min_length and passwords.min_length_with_mfa"


class AttributesSettings(Section):
    """Attributes beside the standard ones of OpenID Connect."""

    custom: CustomAttributes = Field(
        {},
        description="Custom attributes by name, `custom:` included, each with `type` (`STRING`, `NUMBER`, `BOOLEAN` or "
        "`DATETIME`), `min` and `max` (characters, or the number) and `user_may_write`; JSON in the environment.",
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the names."""
        if not all(_CUSTOM_NAME.fullmatch(name) for name in self.custom):
            yield "attributes.custom: names are `custom:` and 1 to 64 letters, digits, `_`, `.` or `-`"


class CodesSettings(Section):
    """Codes sent by mail or SMS."""

    sign_up_ttl: Duration = Field(hours(24), ge=minutes(5), le=days(30), description="Life of a sign-up code.")
    sign_up_digits: int = Field(6, ge=6, le=10, description="Length of a sign-up code.")
    reset_ttl: Duration = Field(minutes(10), ge=minutes(2), le=hours(24), description="Life of a reset code.")
    reset_digits: int = Field(8, ge=6, le=10, description="Length of a reset code.")
    attribute_ttl: Duration = Field(
        hours(24), ge=minutes(5), le=days(7), description="Life of a code that verifies a new address or phone number."
    )
    attribute_digits: int = Field(6, ge=6, le=10, description="Length of such a code.")
    sign_in_digits: int = Field(
        6, ge=6, le=10, description="Length of a sign-in code; it lives as long as its challenge session."
    )
    sign_in_cooldown: Duration = Field(
        seconds(30), ge=seconds(1), le=minutes(5), description="Wait before a sign-in code is sent again."
    )
    sign_in_sends_per_hour: int = Field(
        10, ge=1, le=100, description="Sign-in codes sent to one account in an hour, over each medium."
    )
    max_wrong: int = Field(5, ge=1, le=20, description="Wrong tries that burn a code.")
    sends_to_address_per_hour: int = Field(
        10,
        ge=1,
        le=1000,
        description="Codes sent in an hour to one address or phone number that is not verified, for all accounts "
        "together; more are not sent.",
    )
    sends_per_hour: int = Field(5, ge=1, le=100, description="Codes of one kind sent to one account in an hour.")


class ChallengesSettings(Section):
    """Half-done sign-ins."""

    ttl: Duration = Field(minutes(3), ge=minutes(1), le=minutes(15), description="Life of a challenge session.")
    setup_ttl: Duration = Field(minutes(15), ge=minutes(3), le=hours(1), description="The same for set-up steps.")
    max_wrong: int = Field(5, ge=1, le=20, description="Wrong answers that kill a challenge session.")


class TokensSettings(Section):
    """Tokens of signed-in users."""

    issuer: str = Field(
        "authsvc", min_length=1, max_length=255, description="`iss` claim; best the URL of your service."
    )
    audience: str = Field("authsvc", min_length=1, max_length=255, description="`aud` claim.")
    algorithm: Literal["EdDSA", "ES256"] = Field(
        "EdDSA", description="Signature of new signing keys: `EdDSA` or `ES256`."
    )
    access_ttl: Duration = Field(minutes(15), ge=minutes(5), le=hours(24), description="Life of access and ID tokens.")
    refresh_ttl: Duration = Field(
        days(30), ge=hours(1), le=days(3650), description="Life of a session from its sign-in."
    )
    refresh_grace: Duration = Field(
        seconds(30),
        ge=seconds(1),
        le=minutes(5),
        description="Time in which a repeated refresh gets the same successor.",
    )
    reauthentication_window: Duration = Field(
        minutes(10), ge=minutes(1), le=hours(24), description="Oldest authentication for sensitive calls."
    )
    signing_key_lead: Duration = Field(
        minutes(10),
        ge=minutes(1),
        le=days(1),
        description="Time between publishing a new signing key and its first use.",
    )


class LimitsSettings(Section):
    """Throttling, counted in Postgres."""

    lock_from: int = Field(
        5, ge=3, le=50, description="Failure in a row that first locks a factor of an account, for 1 s, doubling."
    )
    lock_max: Duration = Field(minutes(15), ge=seconds(30), le=hours(24), description="Longest lock.")
    close_at: int = Field(100, ge=10, le=1000, description="Failures in a row that close a factor until it is reset.")
    sign_up_per_source: int = Field(
        60, ge=1, le=1_000_000, description="Sign-ups and their confirmations an hour from one address (IPv6: /64)."
    )
    sign_in_per_source: int = Field(
        120, ge=1, le=1_000_000, description="Sign-ins and their answers a minute from one address."
    )
    resend_per_source: int = Field(30, ge=1, le=1_000_000, description="Resent codes an hour for one address.")
    reset_per_source: int = Field(
        30, ge=1, le=1_000_000, description="Password resets and their confirmations an hour from one address."
    )
    sign_up_global: int = Field(
        20_000, ge=1, le=100_000_000, description="Sign-ups and their confirmations an hour in all."
    )
    sign_in_global: int = Field(60_000, ge=1, le=100_000_000, description="Sign-ins and their answers a minute in all.")
    resend_global: int = Field(10_000, ge=1, le=100_000_000, description="Resent codes an hour in all.")
    reset_global: int = Field(
        10_000, ge=1, le=100_000_000, description="Password resets and their confirmations an hour in all."
    )
